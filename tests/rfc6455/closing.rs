//! §5.5.1, §7: the closing handshake, its codes, and who ends TCP when.

use crate::duo::{Duo, close_body};
use sockeye::{ConnectionState, Ending, Expired, Fault, Role};

// ------------------------------------------------------------------ the peer closes first

#[test]
fn s5_5_1_a_close_is_answered_by_one_of_the_same_code_and_reason() {
    for mut duo in Duo::both() {
        duo.feed_frame(0x88, b"\x03\xe8bye")
            .expect_close(Some(1000), "bye")
            .expect_frame(0x88, b"\x03\xe8bye");
        duo.expect_silence();
        assert_eq!(duo.state(), ConnectionState::Closed);
    }
    Duo::server()
        .feed(b"\x88\x85\0\0\0\0\x03\xe9adi")
        .expect_close(Some(1001), "adi")
        .expect_bytes(b"\x88\x05\x03\xe9adi");
    Duo::client()
        .feed(b"\x88\x02\x0f\xa1")
        .expect_close(Some(4001), "")
        .expect_bytes(b"\x88\x82\x11\x12\x13\x14\x1e\xb3");
}

#[test]
fn s5_5_1_a_close_without_a_body_is_answered_by_one_without_a_body() {
    for mut duo in Duo::both() {
        duo.feed_frame(0x88, b"").expect_close(None, "").expect_frame(0x88, b"").expect_silence();
    }
}

#[test]
fn s5_5_1_the_answer_comes_behind_what_was_sent_before() {
    for mut duo in Duo::both() {
        assert!(duo.send("first"));
        duo.feed_frame(0x88, b"\x03\xe8").expect_close(Some(1000), "");
        duo.expect_frame(0x81, b"first").expect_frame(0x88, b"\x03\xe8").expect_silence();
    }
}

#[test]
fn s5_5_1_nothing_is_sent_after_the_answer() {
    for mut duo in Duo::both() {
        duo.feed_frame(0x88, b"").expect_close(None, "").expect_frame(0x88, b"");
        assert!(!duo.send("hi") && !duo.ping(b"") && !duo.pong(b"") && !duo.close(1000, ""));
        duo.expect_silence();
    }
}

#[test]
fn s1_4_whatever_follows_the_peers_close_is_dropped() {
    for mut duo in Duo::both() {
        let rest = [duo.frame(0x81, b"hi"), duo.frame(0x88, b""), b"\xff\xff nonsense".to_vec()].concat();
        let both = [duo.frame(0x88, b"\x03\xe8"), rest.clone()].concat();
        duo.feed(&both).expect_close(Some(1000), "").expect_frame(0x88, b"\x03\xe8").expect_silence();
        duo.feed(&rest).feed(&rest).expect_silence().expect_no_message();
    }
}

#[test]
fn s7_1_1_the_server_ends_tcp_first_and_the_client_waits_for_it() {
    let [mut server, mut client] = Duo::both();
    for duo in [&mut server, &mut client] {
        assert_eq!(duo.ending(), Ending::Open);
        duo.feed_frame(0x88, b"").expect_close(None, "").expect_frame(0x88, b"");
    }
    assert_eq!((server.ending(), server.ending()), (Ending::Shutdown, Ending::Open)); // said once
    assert_eq!((client.ending(), client.ending()), (Ending::AwaitEof, Ending::Open));
    server.feed_eof();
    client.feed_eof();
    assert_eq!((server.ending(), client.ending()), (Ending::Drop, Ending::Drop));
}

// ------------------------------------------------------------------ we close first

#[test]
fn s7_1_2_our_close_is_sent_once_and_answered_by_the_peer() {
    for mut duo in Duo::both() {
        assert!(duo.close(1001, "away"));
        duo.expect_frame(0x88, b"\x03\xe9away").expect_silence();
        assert_eq!((duo.state(), duo.ending()), (ConnectionState::Closing, Ending::Open));
        assert!(!duo.close(1000, "again"));
        duo.feed_frame(0x88, b"\x03\xe9away").expect_close(Some(1001), "away").expect_silence();
        let ending = if duo.role() == Role::Server { Ending::Shutdown } else { Ending::AwaitEof };
        assert_eq!((duo.state(), duo.ending()), (ConnectionState::Closed, ending));
    }
}

#[test]
fn s5_5_1_the_peers_answer_is_its_own_and_is_not_answered() {
    for (body, code, reason) in
        [(&b""[..], None, ""), (b"\x03\xe8", Some(1000), ""), (b"\x0b\xb8mine", Some(3000), "mine")]
    {
        for mut duo in Duo::both() {
            assert!(duo.close(1000, "ours"));
            duo.expect_frame(0x88, b"\x03\xe8ours");
            duo.feed_frame(0x88, body).expect_close(code, reason).expect_silence();
        }
    }
}

#[test]
fn s5_5_1_no_data_is_sent_after_our_close() {
    for mut duo in Duo::both() {
        assert!(duo.close(1000, ""));
        duo.expect_frame(0x88, b"\x03\xe8");
        assert!(!duo.send("hi") && !duo.send(&b"hi"[..]));
        duo.expect_silence();
    }
}

#[test]
fn s1_4_messages_behind_our_close_are_dropped_until_the_peers() {
    for mut duo in Duo::both() {
        duo.feed_frame(0x01, b"unfinished");
        assert!(duo.close(1000, ""));
        duo.expect_frame(0x88, b"\x03\xe8");
        // The rest of it, a whole one, a fragmented one, an empty one, a large one.
        duo.feed_frame(0x00, b"more").feed_frame(0x80, b"end").feed_frame(0x81, b"hi").feed_frame(0x82, b"");
        duo.feed_frame(0x02, b"a")
            .feed_frame(0x00, b"")
            .feed_frame(0x80, b"b")
            .feed_frame(0x82, &[7; 200_000]);
        // Nobody reads the text any more.
        duo.feed_frame(0x81, b"\xff");
        duo.expect_silence().expect_no_message();
        duo.feed_frame(0x88, b"\x03\xe8").expect_close(Some(1000), "").expect_silence();
    }
}

#[test]
fn s1_4_a_frame_that_our_close_cut_in_two_is_skipped_to_its_end() {
    for direct in [false, true] {
        for mut duo in Duo::both() {
            if direct {
                duo = duo.read_direct();
            }
            let frame = duo.frame(0x81, &[b'a'; 300]);
            for cut in [1, 3, 5, 7, 9, 200] {
                duo = if duo.role() == Role::Server { Duo::server() } else { Duo::client() };
                duo.feed(&frame[..cut]);
                assert!(duo.close(1000, ""));
                duo.expect_frame(0x88, b"\x03\xe8");
                let close = duo.frame(0x88, b"\x03\xe8");
                duo.feed(&[&frame[cut..], &close].concat()).expect_close(Some(1000), "").expect_silence();
            }
        }
    }
}

#[test]
fn s1_4_a_continuation_whose_header_our_close_cut_in_two_is_skipped_too() {
    for mut duo in Duo::both() {
        let frame = duo.frame(0x80, &[b'b'; 130]);
        for cut in 0..9 {
            duo = if duo.role() == Role::Server { Duo::server() } else { Duo::client() };
            duo.feed_frame(0x01, b"begun").feed(&frame[..cut]);
            assert!(duo.close(1000, ""));
            duo.expect_frame(0x88, b"\x03\xe8");
            duo.feed(&frame[cut..]).feed_frame(0x88, b"").expect_close(None, "").expect_silence();
        }
    }
}

#[test]
fn s5_5_1_when_both_close_at_once_nothing_is_sent_twice() {
    let (mut server, mut client) = (Duo::server(), Duo::client());
    assert!(server.close(1001, "") && client.close(1000, ""));
    let (from_server, from_client) = (server.take_bytes(), client.take_bytes());
    server.feed(&from_client).expect_close(Some(1000), "").expect_silence();
    client.feed(&from_server).expect_close(Some(1001), "").expect_silence();
    assert_eq!((server.ending(), client.ending()), (Ending::Shutdown, Ending::AwaitEof));
}

#[test]
fn s5_5_1_a_reason_is_cut_at_a_character_so_that_the_frame_has_125_bytes() {
    for mut duo in Duo::both() {
        assert!(duo.close(1000, &"é".repeat(80)));
        duo.expect_frame(0x88, &close_body(1000, &"é".repeat(61)));
    }
}

#[test]
fn s7_4_1_a_code_that_must_not_be_on_the_wire_is_left_out_with_its_reason() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        for mut duo in Duo::both() {
            assert!(duo.close(code, "reason"));
            duo.expect_frame(0x88, b"").expect_silence();
        }
    }
}

// ------------------------------------------------------------------ bodies

/// §7.4.1, §7.4.2 and the IANA registry: 1012 to 1014 were added to it later.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000 | 1001 | 1002 | 1003 | 1007 | 1008 | 1009 | 1010 | 1011 | 1012 | 1013 | 1014)
        || (3000..=4999).contains(&code)
}

#[test]
fn s7_4_a_close_with_a_code_that_must_not_be_sent_fails_the_connection_and_others_are_echoed() {
    let edges = [0, 1, 255, 256, 2999, 3000, 3999, 4000, 4999, 5000, 9999, 32_768, 65_534, 65_535];
    for code in (990..1030).chain(edges) {
        for mut duo in Duo::both() {
            duo.feed_frame(0x88, &close_body(code, "why"));
            if may_be_sent(code) {
                duo.expect_close(Some(code), "why")
                    .expect_frame(0x88, &close_body(code, "why"))
                    .expect_silence();
            } else {
                let reason = format!("close code {code} must not be sent");
                duo.expect_fault(Fault::CloseCodeInvalid { code }, 1002, &reason);
            }
        }
    }
}

#[test]
fn s5_5_1_a_close_with_a_body_of_one_byte_fails_the_connection() {
    for mut duo in Duo::both() {
        duo.feed_frame(0x88, b"\x03").expect_fault(Fault::CloseHalfCode, 1002, "close body of one byte");
    }
}

#[test]
fn s5_5_1_a_close_whose_reason_is_not_utf_8_fails_the_connection_with_1007() {
    for reason in [&b"\xff"[..], b"caf\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"ok\x80"] {
        for mut duo in Duo::both() {
            duo.feed_frame(0x88, &[b"\x03\xe8", reason].concat());
            duo.expect_fault(Fault::CloseReasonInvalid, 1007, "close reason is not UTF-8");
        }
    }
}

#[test]
fn s5_5_1_a_reason_in_utf_8_is_echoed_byte_for_byte() {
    for mut duo in Duo::both() {
        let body = close_body(1000, "größer als 𝄞");
        duo.feed_frame(0x88, &body).expect_close(Some(1000), "größer als 𝄞").expect_frame(0x88, &body);
    }
}

// ------------------------------------------------------------------ failing

#[test]
fn s7_1_7_a_fault_is_said_once_and_behind_what_was_sent_before() {
    for mut duo in Duo::both() {
        assert!(duo.send("first"));
        duo.feed_frame(0x83, b"").expect_frame(0x81, b"first");
        duo.expect_fault(Fault::ReservedOpcode { opcode: 3 }, 1002, "opcode 0x3 is reserved");
        assert!(!duo.send("hi") && !duo.ping(b"") && !duo.close(1000, ""));
        duo.expect_silence();
    }
}

#[test]
fn s7_1_7_after_a_fault_both_roles_shut_writing_down_and_drop_at_the_peers_end() {
    for mut duo in Duo::both() {
        duo.feed_frame(0x83, b"").expect_fault(
            Fault::ReservedOpcode { opcode: 3 },
            1002,
            "opcode 0x3 is reserved",
        );
        assert_eq!(duo.ending(), Ending::Open); // expect_fault was told Shutdown
        duo.feed_eof();
        assert_eq!(duo.ending(), Ending::Drop);
    }
}

#[test]
fn s7_1_7_a_fault_after_our_close_is_not_said_in_a_second_one() {
    for mut duo in Duo::both() {
        assert!(duo.close(1000, ""));
        duo.expect_frame(0x88, b"\x03\xe8");
        duo.feed_frame(0x83, b"").expect(crate::duo::Event::Fault(Fault::ReservedOpcode { opcode: 3 }));
        duo.expect_silence();
        assert_eq!((duo.state(), duo.ending()), (ConnectionState::Closed, Ending::Shutdown));
    }
}

#[test]
fn s7_1_7_frames_before_the_fault_in_the_same_bytes_are_delivered() {
    for mut duo in Duo::both() {
        let bytes =
            [duo.frame(0x81, b"good"), duo.frame(0x89, b"!"), duo.frame(0x83, b""), duo.frame(0x81, b"late")];
        duo.feed(&bytes.concat()).expect_text("good").expect_frame(0x8a, b"!");
        duo.expect_fault(Fault::ReservedOpcode { opcode: 3 }, 1002, "opcode 0x3 is reserved");
    }
}

// ------------------------------------------------------------------ TCP ends

#[test]
fn s7_1_4_the_end_of_tcp_without_a_close_is_answered_by_nothing() {
    for mut duo in Duo::both() {
        duo.feed_frame(0x01, b"half").feed_eof();
        assert_eq!((duo.state(), duo.ending()), (ConnectionState::Closed, Ending::Drop));
        assert!(!duo.send("hi") && !duo.close(1000, ""));
        duo.expect_silence().expect_no_message();
    }
}

#[test]
fn s7_1_4_the_end_of_tcp_after_our_close_ends_the_wait_for_the_peers() {
    for mut duo in Duo::both() {
        assert!(duo.close(1000, ""));
        duo.expect_frame(0x88, b"\x03\xe8").feed_eof();
        assert_eq!((duo.state(), duo.ending()), (ConnectionState::Closed, Ending::Drop));
    }
}

#[test]
fn s7_1_4_a_close_that_came_with_the_end_of_tcp_is_answered_before_the_socket_is_dropped() {
    for mut duo in Duo::both() {
        duo.feed_frame(0x88, b"\x03\xe8")
            .feed_eof()
            .expect_close(Some(1000), "")
            .expect_frame(0x88, b"\x03\xe8");
        assert_eq!(duo.ending(), Ending::Drop);
    }
}

#[test]
fn s4_the_end_of_tcp_in_the_handshake_is_answered_by_nothing() {
    let mut server = Duo::accepted(|_| {});
    server.feed(b"GET / HT").feed_eof().expect_silence().expect_no_message();
    assert_eq!((server.state(), server.ending()), (ConnectionState::Closed, Ending::Drop));
}

// ------------------------------------------------------------------ in time

#[test]
fn a_peer_that_does_not_answer_our_close_within_closing_ms_max_is_dropped() {
    for mut duo in Duo::both() {
        duo.at(1_000);
        assert!(duo.close(1000, ""));
        duo.expect_frame(0x88, b"\x03\xe8");
        // What it sends meanwhile does not put it off.
        duo.at(3_000).feed_frame(0x81, b"hi");
        assert_eq!(duo.deadline(), Some(6_000));
        assert_eq!(duo.expire_at(5_999), None);
        assert_eq!(duo.expire_at(6_000), Some(Expired::Drop));
        duo.expect_silence().expect_no_message();
    }
}

#[test]
fn a_peer_that_does_not_end_tcp_within_linger_ms_max_is_dropped() {
    for mut duo in Duo::both() {
        duo.at(2_000).feed_frame(0x88, b"").expect_close(None, "").expect_frame(0x88, b"");
        // Our answer is not written yet: that may take as long as a closing handshake.
        assert_eq!(duo.deadline(), Some(7_000));
        duo.at(2_500);
        assert_ne!(duo.ending(), Ending::Open);
        assert_eq!(duo.deadline(), Some(3_500));
        assert_eq!(duo.expire_at(3_499), None);
        assert_eq!(duo.expire_at(3_500), Some(Expired::Drop));
    }
}

#[test]
fn after_a_fault_nobody_is_waited_for_longer_than_linger_ms_max() {
    for mut duo in Duo::both() {
        duo.at(2_000).feed_frame(0x83, b"");
        assert_eq!(duo.deadline(), Some(3_000));
        duo.at(2_900).expect_fault(Fault::ReservedOpcode { opcode: 3 }, 1002, "opcode 0x3 is reserved");
        assert_eq!(duo.deadline(), Some(3_900));
        assert_eq!(duo.expire_at(3_899), None);
        assert_eq!(duo.expire_at(3_900), Some(Expired::Drop));
    }
}
