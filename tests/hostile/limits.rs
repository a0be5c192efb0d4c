//! Every limit has an attack that goes past it: a new limit, one without an attack, and an attack that is no more fail
//! here.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Who goes past a limit.
enum Attack {
    /// A script of this name, over both transports, beside a neighbour and with a bound on memory.
    Script(&'static str),
    /// No peer can, or the clock has to be the test's own; a test in another file, of this name, does.
    Elsewhere(&'static str, &'static str),
}
use Attack::{Elsewhere, Script};

/// By the names of the settings, in the order of the reference.
const ATTACKS: [(&str, Attack); 47] = [
    // [limits]
    ("message_bytes_max", Script("exhaustion::s10_4_a_fault_after_a_huge_announcement_costs_nothing")),
    ("fragments_max", Script("exhaustion::s10_4_empty_fragments_end_at_their_count")),
    ("head_bytes_max", Script("exhaustion::s10_4_megabytes_behind_no_head_cost_nothing")),
    ("headers_max", Script("exhaustion::s10_4_heads_of_many_lines_are_431_and_cost_nothing")),
    ("read_bytes_max", Script("exhaustion::s10_4_a_flood_that_is_read_starves_nobody")),
    (
        "outbox_bytes_soft",
        Script("exhaustion::s10_4_echo_that_nobody_reads_stops_the_reading_and_costs_nothing"),
    ),
    ("outbox_bytes_max", Script("readers::slow_readers_under_broadcast_are_1013_and_the_others_hear_it_all")),
    ("control_bytes_reserve", Script("exhaustion::s10_4_pings_that_are_answered_to_nobody_cost_nothing")),
    ("connections_max", Script("crowd::s10_4_a_connection_past_the_limit_is_503_and_harms_nobody")),
    ("connections_per_address_max", Script("crowd::s10_4_an_address_past_its_limit_is_503")),
    ("buffered_bytes_max", Script("exhaustion::s10_4_many_small_holders_together_stay_within_the_budget")),
    ("pool_bytes_max", Script("exhaustion::s10_4_memory_is_given_back_when_everybody_has_left")),
    ("deflate_context_bytes_max", Script("deflate::s7_1_1_contexts_past_their_budget_are_not_granted")),
    // Other threads of the process fill this queue, and no peer.
    (
        "remote_commands_max",
        Elsewhere("tests/loopback.rs", "a_full_queue_is_a_typed_error_and_a_turn_makes_room"),
    ),
    (
        "handshakes_per_address_per_second_max",
        Script("rates::an_address_that_connects_too_often_is_429_and_those_who_are_there_are_served"),
    ),
    ("messages_per_second_max", Script("rates::floods_of_messages_past_their_rate_wait_and_lose_nothing")),
    ("bytes_per_second_max", Script("rates::floods_of_bytes_past_their_rate_wait_and_lose_nothing")),
    // [actions]
    ("json_message_bytes_max", Script("actions::messages_past_the_size_of_json_are_refused_one_by_one")),
    ("json_depth_max", Script("actions::json_deeper_than_the_limit_is_refused_however_deep_it_is")),
    (
        "actions_per_message_max",
        Script("actions::actions_past_their_number_in_a_message_are_refused_by_one_error"),
    ),
    ("actions_per_second_max", Script("actions::a_flood_of_actions_is_refused_and_ends_in_1008")),
    (
        "actions_burst_max",
        Script("actions::a_flood_of_what_cannot_be_read_ends_in_1008_in_every_dialect_of_json"),
    ),
    (
        "channels_per_connection_max",
        Script("hoards::a_connection_past_its_channels_is_refused_and_keeps_those_it_has"),
    ),
    (
        "channels_max",
        Script("hoards::channels_rooms_and_groups_past_their_number_are_refused_and_free_again_when_left"),
    ),
    ("name_bytes_max", Script("hoards::names_past_their_length_are_refused_everywhere")),
    ("invited_max", Script("hoards::users_past_those_that_may_be_invited_are_refused")),
    ("recipients_max", Script("hoards::messages_to_more_than_may_be_named_go_to_nobody")),
    ("listed_max", Script("hoards::lists_end_at_their_length")),
    (
        "pending_max",
        Script("actions::actions_for_an_application_that_never_answers_are_refused_past_their_number"),
    ),
    ("history_messages_max", Script("hoards::a_history_keeps_so_many_messages_however_many_were_said")),
    ("history_bytes_max", Script("hoards::a_history_keeps_so_many_bytes_however_large_its_messages_are")),
    ("history_age_ms_max", Script("hoards::a_history_is_let_go_when_it_is_old")),
    ("history_total_messages_max", Script("hoards::all_histories_together_keep_so_many_messages")),
    ("history_total_bytes_max", Script("hoards::all_histories_together_keep_so_many_bytes")),
    // [timers]
    ("ping_after_ms", Script("exhaustion::s5_5_2_a_silent_crowd_is_asked_once_and_given_up")),
    ("pong_within_ms", Script("exhaustion::s5_5_2_a_silent_crowd_is_asked_once_and_given_up")),
    ("handshake_ms_max", Script("exhaustion::s10_4_heads_that_never_end_cost_nothing_and_run_out")),
    ("message_idle_ms_max", Script("exhaustion::s10_4_a_crowd_of_unfinished_messages_is_1008")),
    ("outbox_stall_ms_max", Script("exhaustion::s10_4_a_peer_that_reads_nothing_is_dropped_in_the_end")),
    ("closing_ms_max", Script("crowd::s7_1_1_a_close_that_nobody_reads_is_given_up")),
    ("linger_ms_max", Script("crowd::s7_1_7_half_open_faults_are_given_up")),
    // Behind it there is no neighbour left to look at.
    (
        "drain_ms",
        Script("close::s7_4_1_a_crowd_that_never_answers_1001_is_told_in_time_and_does_not_keep_the_server"),
    ),
    // [deflate]
    ("no_deflate", Script("deflate::s6_a_flood_of_compressed_messages_that_nobody_agreed_to_is_1002")),
    ("deflate_level", Script("deflate::s7_2_1_a_flood_of_what_does_not_shrink_leaves_the_server_alive")),
    ("deflate_threshold_bytes", Script("deflate::s7_2_1_a_flood_at_the_threshold_keeps_nobody_waiting")),
    (
        "deflate_window_bits_max",
        Script("deflate::s7_1_2_windows_of_every_size_are_asked_for_and_cost_no_more"),
    ),
    (
        "deflate_peer_window_bits_max",
        Script("deflate::s7_1_2_2_what_refers_back_beyond_its_window_harms_nobody"),
    ),
];

/// Sections of the reference that are limits.
const SECTIONS: [&str; 4] = ["limits", "actions", "timers", "deflate"];

/// The names of all limits, as the binary tells them.
fn limits() -> BTreeSet<String> {
    let reference =
        Command::new(env!("CARGO_BIN_EXE_sockeye")).args(["check-config", "--reference"]).output();
    let reference = String::from_utf8(reference.expect("the binary runs").stdout).expect("a text");
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in reference.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if SECTIONS.contains(&section)
            && let Some((name, _)) = line.strip_prefix('#').and_then(|rest| rest.split_once(" = "))
            && !name.contains(' ')
        {
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn every_limit_has_an_attack_that_goes_past_it() {
    let limits = limits();
    let named: BTreeSet<String> = ATTACKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let without: Vec<_> = limits.difference(&named).collect();
    assert!(without.is_empty(), "limits without an attack in tests/hostile/limits.rs: {without:?}");
    let gone: Vec<_> = named.difference(&limits).collect();
    assert!(gone.is_empty(), "attacks on what is no limit: {gone:?}");
}

#[test]
fn every_attack_on_a_limit_is_a_test() {
    let this = std::env::current_exe().expect("a path");
    let listed = Command::new(this).args(["--list", "--format", "terse"]).output().expect("it runs");
    let listed = String::from_utf8(listed.stdout).expect("a text");
    let tests: BTreeSet<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    for (limit, attack) in &ATTACKS {
        match attack {
            Script(name) => {
                for transport in ["ws", "wss"] {
                    let name = format!("{transport}::{name}");
                    assert!(tests.contains(&*name), "{limit}: there is no test {name}");
                }
            }
            Elsewhere(file, name) => {
                let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
                let text = std::fs::read_to_string(&file).expect("a file of tests");
                let test = format!("fn {name}(");
                assert!(text.contains(&test), "{limit}: there is no {test} in {}", file.display());
            }
        }
    }
}
