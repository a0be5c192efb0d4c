//! That the player of transcripts can fail: what is wrong in a transcript is noticed. On `echo`, the simplest.

use crate::{
    pattern::{Captures, canonical, unix_ms},
    play::play,
    transcript::parse,
};

/// These steps on an echo server, with `a` and `b` connected.
fn played(steps: &str) -> Result<(), String> {
    let text = format!(
        "{}\n{}\n{}\n{steps}",
        r#"{"transcript":"a proof","says":"","listen":["echo"],"serve":[]}"#,
        r#"{"open":"a","at":"/echo"}"#,
        r#"{"open":"b","at":"/echo"}"#
    );
    let mut transcripts = parse(&text);
    // What today's server has no flag for is not needed here.
    transcripts[0].flags.clear();
    play(&transcripts[0])
}

#[track_caller]
fn passes(steps: &str) {
    if let Err(fault) = played(steps) {
        panic!("{steps}\nfails: {fault}");
    }
}

#[track_caller]
fn fails(steps: &str, words: &str) {
    let fault = played(steps).expect_err(&format!("{steps}\nshould fail"));
    assert!(fault.contains(words), "{steps}\nfails for another reason: {fault}");
}

#[test]
fn what_is_right_passes() {
    passes(
        r#"
{"from":"a","text":"hi"}
{"to":"a","text":"hi"}
{"from":"a","json":{"z": [1, "\u00e9$(x*3)"],"a":"\u0000"}}
{"to":"a","json":{"z":[1,"éxxx"],"a":"\u0000"}}
{"from":"a","text":"{\"time\":1,\"s\":[\"[$(1*2):34]\"]}"}
{"to":"a","json":{"time":"$number","s":"$any"}}
{"silent":["b","a"]}
{"from":"b","hex":"40 49 0F DB 7F"}
{"to":"b","hex":"40490fdb7f"}
{"times":3,"from":"b","text":"number $#"}
{"times":3,"to":"b","text":"number $#"}
{"from":"a","json":{"data":[1,2,3]}}
{"to":"a","unordered":true,"json":{"data":[3,1,2]}}
{"from":"a","close":[4001,"bye"]}
{"to":"a","closed":[4001,"bye"]}
{"from":"b","close":[1005,""]}
{"to":"b","closed":[1005,""]}
{"open":"a","at":"/again"}
{"from":"a","drop":true}
{"open":"a"}
{"from":"a","reset":true}
{"open":"a"}
{"signal":"TERM"}
{"to":"a","closed":[1001,"$any"]}
{"exit":0}"#,
    );
}

#[test]
fn the_replies_of_actions_are_written_short() {
    let now = unix_ms();
    let (hour, minute) = (now / 3_600_000 % 24, now / 60_000 % 60);
    let reply = format!(
        r#"{{"status":"ok","version":"1.0","message":"","data":[{{"action":"new_message","channel_name":"c","message":"[{hour:02}:{minute:02}] &lt;n&gt;: &lt;x&gt;","uuid":"u","username":"n","text":"<x>","time":{now},"seq":3}}],"id":"i"}}"#
    );
    let said = format!(r#"{{"from":"a","json":{reply}}}"#);
    let told = |seq, name, more| {
        format!(
            r#"{{"to":"a","new_message":{{"channel":"c","uuid":"u","name":"{name}","text":"<x>","html":"&lt;x&gt;","seq":{seq}{more}}},"id":"i"}}"#
        )
    };
    passes(&format!("{said}\n{}", told(3, "n", "")));
    fails(&format!("{said}\n{}", told(4, "n", "")), "a: ");
    fails(&format!("{said}\n{}", told(3, "m", "")), "a: ");
    fails(&format!("{said}\n{}", told(3, "n", r#","clock":"$hhmm+5""#)), "minutes east");
    passes(
        r#"
{"from":"a","json":{"status":"ok","version":"1.0","message":"","data":[{"x":1}],"id":7}}
{"to":"a","ok":[{"x":1}],"id":7}
{"from":"a","json":{"status":"error","version":"1.0","message":"No","data":[]}}
{"to":"a","error":"No"}"#,
    );
}

#[test]
fn a_message_that_is_not_told_fails() {
    fails(r#"{"from":"a","text":"x"}"#, "and then a heard Text(\"x\")");
    fails("{\"from\":\"a\",\"text\":\"x\"}\n{\"silent\":\"a\"}", "should have heard nothing");
    fails(
        "{\"from\":\"a\",\"text\":\"x\"}\n{\"from\":\"a\",\"close\":[1005,\"\"]}\n{\"to\":\"a\",\"closed\":[1005,\"\"]}",
        "heard Text(\"x\")",
    );
    fails(
        "{\"from\":\"a\",\"text\":\"x\"}\n{\"from\":\"a\",\"close\":[1005,\"\"]}",
        "and then a heard Text(\"x\")",
    );
}

#[test]
fn a_message_that_does_not_come_fails() {
    fails(r#"{"to":"a","text":"x"}"#, "a heard nothing");
    fails("{\"from\":\"a\",\"text\":\"x\"}\n{\"to\":[\"a\",\"b\"],\"text\":\"x\"}", "b heard nothing");
}

#[test]
fn another_message_fails() {
    for (said, told) in [
        (r#""text":"x""#, r#""text":"y""#),
        (r#""text":"x""#, r#""hex":"78""#),
        (r#""hex":"78""#, r#""text":"x""#),
        (r#""hex":"78""#, r#""hex":"79""#),
        (r#""json":{"a":1,"b":2}"#, r#""json":{"b":2,"a":1}"#),
        (r#""json":{"a":1,"b":2}"#, r#""json":{"a":1}"#),
        (r#""json":{"a":1}"#, r#""json":{"a":1,"b":2}"#),
        (r#""json":{"a":"1"}"#, r#""json":{"a":1}"#),
        (r#""json":{"a":"1"}"#, r#""json":{"a":"$number"}"#),
        (r#""json":{"a":1}"#, r#""json":{"a":"$time"}"#),
        (r#""json":{"a":""}"#, r#""json":{"a":"$string"}"#),
        (r#""json":{"a":"[99:99]"}"#, r#""json":{"a":"[$hhmm]"}"#),
        (r#""json":["x","y"]"#, r#""json":["$string:s","$string:s"]"#),
        (r#""text":"{\"status\": 1}""#, r#""json":{"status":1}"#),
        (r#""text":"x""#, r#""closed":[1000,""]"#),
        (r#""json":{"data":[1,2]}"#, r#""json":{"data":[2,1]}"#),
        (r#""json":{"data":[1,2]}"#, r#""unordered":true,"json":{"data":[2,3]}"#),
    ] {
        fails(&format!("{{\"from\":\"a\",{said}}}\n{{\"to\":\"a\",{told}}}"), "a: ");
    }
}

#[test]
fn another_end_fails() {
    let close = r#"{"from":"a","close":[4001,"bye"]}"#;
    for told in [r#"[4001,""]"#, r#"[4002,"bye"]"#, r#"[1005,""]"#, r#"[1006,""]"#] {
        fails(&format!("{close}\n{{\"to\":\"a\",\"closed\":{told}}}"), "a: Close");
    }
    fails(&format!("{close}\n{{\"to\":\"a\",\"closed\":[4001,\"bye\"],\"unclean\":true}}"), "a: Close");
    let stopped = "{\"signal\":\"TERM\"}\n{\"to\":[\"a\",\"b\"],\"closed\":[1001,\"$any\"]}";
    fails(&format!("{stopped}\n{{\"exit\":1}}"), "the server ended with");
}

#[test]
fn another_handshake_fails() {
    fails(r#"{"open":"c","refused":404}"#, "answered by");
    fails(r#"{"open":"c","offers":["x"]}"#, "agreed on Some(\"x\"), not None");
    fails(r#"{"open":"c","offers":["x"],"agreed":"y"}"#, "not Some(\"y\")");
    fails(r#"{"open":"c","fields":["Bad Name: 1"]}"#, "no upgrade");
    fails(r#"{"http":["GET / HTTP/1.1"],"status":299}"#, "not 299 but");
}

#[test]
fn a_transcript_with_a_word_misspelt_fails() {
    fails(r#"{"form":"a","text":"x"}"#, "the transcript itself is wrong");
    fails(r#"{"from":"a","text":"x","binry":true}"#, "the transcript itself is wrong");
    fails(r#"{"from":"a","json":"$(x*9)","bytes":12}"#, "bytes of the text");
    fails(r#"{"from":"nobody","text":"x"}"#, "it is connected");
}

#[test]
fn placeholders_learn_and_compare() {
    let mut captures = Captures::default();
    let told = canonical(r#"{"a":"$epoch:e", "b":[ "$any" ], "c":"$seq"}"#).expect("JSON").0;
    assert_eq!(captures.compare(&told, r#"{"a":"x\"y","b":[{"deep":[1,"]"]}],"c":7}"#), Ok(()));
    assert_eq!(captures.filled(r#"["$epoch:e"]"#), r#"["x\"y"]"#);
    assert!(captures.compare(&told, r#"{"a":"other","b":[1],"c":7}"#).is_err());
    assert!(captures.compare(&told, r#"{"a":"x\"y","b":[1],"c":-7}"#).is_err());
    assert!(captures.compare(&told, r#"{"a":"x\"y","b":[1,2],"c":7}"#).is_err());
    assert!(canonical("{").is_err());
    assert!(canonical(r#""\ud800""#).is_err());
}
