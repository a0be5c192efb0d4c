//! A stream of nearly valid frames, in both roles: whatever pieces it comes in and goes out in, through whichever
//! door, handlers are told the same and the peer is sent the same bytes; what is delivered is what tungstenite
//! delivers; and nothing is left when everybody is gone.
//!
//! Input: see `script.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sockeye::{Cause, Fault, Role};
use sockeye_fuzz::{
    Delivered, End,
    chop::Chop,
    frames::{Frame, first_frame, well_formed},
    play_connection, play_engine,
    play_engine::Event,
    play_tungstenite,
    script::{Reply, Script},
};

fuzz_target!(|script: Script| {
    let config = script.config();
    let whole = play_connection::play(script.role, &config, &script.frames, None);
    let mut chop = Chop::for_stream(script.read_seed, script.frames.len());
    let chopped = play_connection::play(script.role, &config, &script.frames, Some(&mut chop));
    assert_eq!(whole, chopped, "a connection");
    let replies = well_formed(&whole.out, script.role == Role::Client);
    assert_echoed(&whole.messages, &replies);
    assert_fragments(&script.frames, config.limits.fragments_max, &whole);
    play_tungstenite::compare(script.role, &config, &script.frames, &whole);
    if script.role == Role::Server {
        through_an_engine(&script, &whole);
    }
});

fn through_an_engine(script: &Script, alone: &play_connection::Played) {
    let whole = play_engine::play(script, false);
    let chopped = play_engine::play(script, true);
    assert_eq!(whole.events, chopped.events, "an engine's events");
    if script.low_mark {
        // A peer that is behind is answered its latest Ping only.
        assert_eq!(without_pongs(&whole.out), without_pongs(&chopped.out), "an engine's frames");
    } else {
        assert_eq!(whole.out, chopped.out, "an engine's bytes");
    }
    assert_eq!(whole.overheard, chopped.overheard, "what a listener is sent");
    well_formed(behind_head(&whole.overheard), false);
    if script.reply != Reply::Close {
        assert_told_alike(&whole.events, alone);
    }
    if script.reply == Reply::Echo && !script.low_mark {
        assert_eq!(behind_head(&whole.out), alone.out, "an engine's echo is a connection's");
    }
}

/// Each message was sent back, in order.
fn assert_echoed(messages: &[Delivered], replies: &[Frame]) {
    let mut data = replies.iter().filter(|frame| frame.first & 8 == 0);
    for message in messages {
        let reply = data.next().expect("a message was not sent back");
        assert_eq!((reply.first & 15, &reply.payload[..]), message.frame());
    }
    assert_eq!(data.next(), None, "more was sent than came");
}

/// No message of more fragments than allowed is delivered, and none of fewer refused for their number.
fn assert_fragments(mut stream: &[u8], limit: u32, played: &play_connection::Played) {
    let (mut messages, mut fragments, mut most) = (0, 0, 0);
    while let Some((frame, len)) = first_frame(stream)
        && messages < played.messages.len()
    {
        stream = &stream[len..];
        if frame.first & 8 == 0 {
            fragments += 1;
            most = most.max(fragments);
            if frame.first & 0x80 != 0 {
                (messages, fragments) = (messages + 1, 0);
            }
        }
    }
    assert!(most <= limit, "a message of {most} fragments");
    if let End::Fault(Fault::TooManyFragments { .. }) = played.end {
        let more = std::iter::from_fn(|| {
            let (frame, len) = first_frame(stream)?;
            stream = &stream[len..];
            Some(frame)
        });
        let whole = more.filter(|frame| frame.first & 8 == 0).count();
        // The one that is refused may not be whole.
        assert!(whole + 1 > limit as usize, "{whole} fragments and one more are allowed");
    }
}

/// An engine's handler was told what the connection alone delivers.
fn assert_told_alike(events: &[Event], alone: &play_connection::Played) {
    let messages: Vec<_> = alone.messages.iter().cloned().map(Event::Message).collect();
    let [Event::Open, told @ .., Event::Closed { code, reason, was_clean, cause }] = events else {
        panic!("{events:?}");
    };
    assert_eq!(told, messages);
    match &alone.end {
        End::Pending => assert!(matches!(cause, Cause::Lost(_)) && !was_clean),
        End::Fault(fault) => {
            assert_eq!((*code, *cause, *was_clean), (fault.close_code(), Cause::Fault(*fault), false));
        }
        End::Close(theirs, why) => {
            assert_eq!((*cause, *was_clean, reason), (Cause::Peer, true, why));
            assert_eq!(code.get(), theirs.map_or(1005, |code| code.get()));
        }
    }
}

/// What follows the answer to the request.
fn behind_head(out: &[u8]) -> &[u8] {
    let end = out.windows(4).position(|window| window == b"\r\n\r\n").expect("a request is answered");
    &out[end + 4..]
}

/// The answer to the request is left out too.
fn without_pongs(out: &[u8]) -> Vec<Frame> {
    let mut frames = well_formed(behind_head(out), false);
    frames.retain(|frame| frame.first & 15 != 10);
    frames
}
