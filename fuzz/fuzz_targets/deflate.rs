//! DEFLATE as permessage-deflate uses it: what bytes inflate to, in whatever steps, is what two other inflaters make
//! of them, and so for all messages that share a context; what our compressor makes of messages, at each level and
//! window, inflates to them again and refers no farther back than agreed; and a connection that is sent compressed
//! frames delivers that, whatever pieces they come in.
//!
//! Input: a byte that chooses which, then its arguments, as each function reads them.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use sockeye::{
    Config, Fault, Role,
    wire::{
        deflate::{Compressor, Inflated, Inflater, InvalidDeflate},
        extension::DeflateParameters,
    },
};
use sockeye_fuzz::{
    Delivered, End,
    chop::Chop,
    frames::first_frame,
    play_connection::Opened,
    puff::{Bad, Puff},
};

/// Most bytes of one message.
const LIMIT: usize = 100_000;

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let _ = match u.arbitrary::<u8>().map(|which| which % 3) {
        Ok(0) => inflates_alike(&mut u),
        Ok(1) => goes_and_comes_back(&mut u),
        _ => through_a_connection(&mut u),
    };
});

/// The rest of the input, cut into messages by lengths that stand in front of them.
fn payloads<'a>(u: &mut Unstructured<'a>) -> Result<Vec<&'a [u8]>> {
    let mut payloads = Vec::new();
    while !u.is_empty() && payloads.len() < 16 {
        let len = usize::from(u.arbitrary::<u16>()?) % 2_048;
        payloads.push(u.bytes(len.min(u.len()))?);
    }
    Ok(payloads)
}

/// Flags, a seed for the steps, and payloads.
fn inflates_alike(u: &mut Unstructured<'_>) -> Result<()> {
    let (flags, seed): (u8, u16) = (u.arbitrary()?, u.arbitrary()?);
    let keeps_context = flags & 1 != 0;
    let (mut chop, mut puff, mut inflater) = (Chop::new(seed), Puff::default(), Inflater::new());
    for payload in payloads(u)? {
        if !keeps_context {
            puff.forget();
        }
        let wanted = puff.inflate(payload, LIMIT);
        let got = inflate(&mut inflater, payload, keeps_context, &mut chop);
        match (&got, &wanted) {
            // Past the limit one may see first that what follows is wrong.
            (Err(_), Err(Bad::TooBig)) => {}
            // A peer that makes it start anew for each byte is given up.
            (Err(_), Ok(_)) if puff.final_blocks > 256 => {}
            _ => assert_eq!(got.as_ref().ok(), wanted.as_ref().ok(), "{payload:x?}, {wanted:?}"),
        }
        if keeps_context && got.is_err() {
            return Ok(()); // the connection is failed
        }
        if let (false, Ok(wanted)) = (keeps_context, &wanted)
            && puff.final_blocks == 0
        {
            let ended = [payload, &[0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff]].concat();
            assert_eq!(&miniz_oxide::inflate::decompress_to_vec(&ended).expect("puff took it"), wanted);
        }
    }
    Ok(())
}

/// As `Connection` does it, but in steps of any size.
fn inflate(
    inflater: &mut Inflater,
    payload: &[u8],
    keeps_context: bool,
    chop: &mut Chop,
) -> std::result::Result<Vec<u8>, Option<InvalidDeflate>> {
    let mut inflation = inflater.begin(payload, keeps_context);
    let (mut out, mut filled) = (vec![0xaa; LIMIT + 1], 0);
    loop {
        let end = filled + chop.piece(LIMIT + 1 - filled).max(LIMIT / 2_000).min(LIMIT + 1 - filled);
        let (n, whole) = match inflation.step(&mut out[..end], filled).map_err(Some)? {
            Inflated::Part(n) => (n, false),
            Inflated::Whole(n) => (n, true),
        };
        assert!(filled <= n && n <= end, "{filled}, {n}, {end}");
        assert!(whole || n == end, "a part is all that there is room for");
        assert!(out[end..].iter().all(|&byte| byte == 0xaa), "more was written than there is room for");
        if n > LIMIT {
            return Err(None);
        }
        filled = n;
        if whole {
            out.truncate(n);
            return Ok(out);
        }
    }
}

/// Level, window, flags, a seed; then payloads, each repeated by a byte of its own.
fn goes_and_comes_back(u: &mut Unstructured<'_>) -> Result<()> {
    let (level, window, flags, seed): (u8, u8, u8, u16) =
        (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
    let (level, window, keeps_context) = (1 + level % 9, 9 + window % 7, flags & 1 != 0);
    let mut compressor = Compressor::new(level, window);
    let (mut puff, mut inflater, mut chop) = (Puff::default(), Inflater::new(), Chop::new(seed));
    for payload in payloads(u)? {
        let times = payload.first().map_or(1, |&first| [1, 1, 1, 2, 3, 10, 50, 300][usize::from(first >> 5)]);
        let message: Vec<u8> = payload.repeat(times).into_iter().take(LIMIT).collect();
        if message.is_empty() {
            continue;
        }
        // As it is used, and with room for what does not become smaller.
        let room = message.len() + if flags & 2 == 0 { 0 } else { 100 + message.len() / 8 };
        let mut out = vec![0; room];
        if !keeps_context {
            compressor.reset();
            puff.forget();
        }
        let Some(len) = compressor.compress(&message, &mut out) else {
            assert!(flags & 2 == 0, "there was room");
            compressor.reset();
            continue;
        };
        assert!(len + 4 <= room);
        assert_eq!(puff.inflate(&out[..len], LIMIT).as_ref(), Ok(&message), "{level}, {window}");
        assert_eq!(inflate(&mut inflater, &out[..len], keeps_context, &mut chop), Ok(message));
        assert!(puff.distance_max <= 1 << window, "{} with {window} bits at {level}", puff.distance_max);
    }
    Ok(())
}

/// Flags, window, a seed; then payloads, which are sent as they are in one frame or several.
fn through_a_connection(u: &mut Unstructured<'_>) -> Result<()> {
    let (flags, window, seed): (u8, u8, u16) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
    let role = if flags & 1 == 0 { Role::Server } else { Role::Client };
    let keeps_context = flags & 2 != 0;
    let mut config = Config::default();
    config.deflate.threshold_bytes = 0;
    config.limits.message_bytes_max = if flags & 4 == 0 { LIMIT as u32 } else { 50 };
    config.limits.deflate_context_bytes_max = if keeps_context { 1 << 20 } else { 0 };
    let deflate = DeflateParameters {
        server_no_context_takeover: !keeps_context,
        client_no_context_takeover: !keeps_context,
        server_max_window_bits: (role == Role::Server).then_some(9 + window % 7),
        client_max_window_bits: Some(9 + window % 7),
    };
    let payloads = payloads(u)?;
    let mut chop = Chop::new(seed);
    let stream = stream_of(role, &payloads, &mut chop);
    let play = |chop| Opened::agreed(role, &config, Some(&deflate)).play(&stream, chop);
    let (whole, chopped) = (play(None), play(Some(&mut chop)));
    assert_eq!(whole, chopped);
    let limit = config.limits.message_bytes_max as usize;
    assert_delivered(&payloads, keeps_context, limit, &whole.messages, &whole.end);
    assert_echoed(role, &whole.messages, &whole.out, keeps_context, window);
    Ok(())
}

/// Binary messages of these payloads, in up to three frames each, with Pings between.
fn stream_of(role: Role, payloads: &[&[u8]], chop: &mut Chop) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut put = |first: u8, payload: &[u8]| {
        let mask = if role == Role::Server { 0x80 } else { 0 };
        stream.extend_from_slice(&[first, mask | 126]);
        if payload.len() < 126 {
            *stream.last_mut().expect("just pushed") = mask | payload.len() as u8;
        } else {
            stream.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
        if mask != 0 {
            stream.extend_from_slice(&[0; 4]);
        }
        stream.extend_from_slice(payload);
    };
    for payload in payloads {
        match chop.below(3) {
            0 => put(0xc2, payload),
            parts => {
                let (first, rest) = payload.split_at(chop.below(payload.len() + 1));
                put(0x42, first);
                put(0x89, b"?");
                if parts == 2 {
                    put(0, b"");
                }
                put(0x80, rest);
            }
        }
    }
    stream
}

/// What was delivered is what the payloads inflate to, up to the first that is wrong.
fn assert_delivered(
    payloads: &[&[u8]],
    keeps_context: bool,
    limit: usize,
    messages: &[Delivered],
    end: &End,
) {
    let (mut puff, mut delivered) = (Puff::default(), messages.iter());
    for payload in payloads {
        if !keeps_context {
            puff.forget();
        }
        match puff.inflate(payload, limit) {
            Ok(wanted) => match delivered.next() {
                Some(message) => assert_eq!(message.frame(), (2, &wanted[..])),
                // More bytes come than any compressor would make of so few, or too many final blocks.
                None => {
                    let is_odd = payload.len() > limit || puff.final_blocks > 256;
                    assert!(is_odd && matches!(end, End::Fault(_)), "{payload:x?}: {end:?}");
                    return;
                }
            },
            Err(Bad::TooBig) => {
                assert!(
                    matches!(end, End::Fault(Fault::MessageTooBig { .. } | Fault::InvalidDeflate)),
                    "{end:?}"
                );
                assert_eq!(delivered.next(), None);
                return;
            }
            Err(_) => {
                let is_fault = matches!(end, End::Fault(Fault::InvalidDeflate))
                    || matches!(end, End::Fault(Fault::MessageTooBig { .. })) && payload.len() > limit;
                assert!(is_fault, "{payload:x?}: {end:?}");
                assert_eq!(delivered.next(), None);
                return;
            }
        }
    }
    assert_eq!((delivered.next(), end), (None, &End::Pending));
}

/// Each message was sent back, compressed or not, and refers no farther back than it may.
fn assert_echoed(role: Role, messages: &[Delivered], mut out: &[u8], keeps_context: bool, window: u8) {
    let (mut puff, mut messages) = (Puff::default(), messages.iter());
    while let Some((frame, len)) = first_frame(out) {
        out = &out[len..];
        assert_eq!(frame.masked, role == Role::Client);
        let payload = match frame.first {
            0x82 => frame.payload,
            0xc2 => {
                if !keeps_context {
                    puff.forget();
                }
                puff.inflate(&frame.payload, LIMIT).expect("we compress rightly")
            }
            first => {
                assert!(matches!(first, 0x88 | 0x8a), "{first:x}");
                continue;
            }
        };
        assert_eq!(messages.next().map(Delivered::frame), Some((2, &payload[..])));
    }
    assert_eq!((messages.next(), out), (None, &b""[..]));
    assert!(puff.distance_max <= 1 << (9 + window % 7));
}
