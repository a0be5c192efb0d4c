//! Which time of day it is: the zone of this machine, or one by its name.

use jiff::{Timestamp, tz::TimeZone};
use sockeye::hub;

/// A time zone, as `--zone` names it.
#[derive(Clone, Debug)]
pub(super) struct Zone(TimeZone);

impl Zone {
    /// That of this machine: of `TZ` or `/etc/localtime`, and UTC where neither says one.
    pub(super) fn of_the_system() -> Zone {
        Zone(TimeZone::system())
    }

    /// For the hub, which asks once a minute.
    pub(super) fn into_hub(self) -> hub::Zone {
        hub::Zone::new(move |unix_ms| self.offset_seconds(unix_ms))
    }

    fn offset_seconds(&self, unix_ms: u64) -> i32 {
        let at = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        at.map_or(0, |at| self.0.to_offset(at).seconds())
    }
}

impl std::str::FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Zone, String> {
        if name.eq_ignore_ascii_case("UTC") {
            return Ok(Zone(TimeZone::UTC));
        }
        // The reason that jiff has names files, of which there may be none.
        TimeZone::get(name).map(Zone).map_err(|_| {
            format!(
                "'{name}' is no time zone: give UTC or a name of the IANA database, such as Europe/Berlin"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_has_its_summer() {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        assert_eq!(zone.offset_seconds(1_795_219_719_780), 3_600, "in November");
        assert_eq!(zone.offset_seconds(1_782_000_000_000), 7_200, "in June");
        assert_eq!("utc".parse::<Zone>().unwrap().offset_seconds(1_782_000_000_000), 0);
        assert_eq!("America/St_Johns".parse::<Zone>().unwrap().offset_seconds(1_795_219_719_780), -12_600);
    }

    #[test]
    fn a_time_that_no_calendar_has_is_no_harm() {
        assert_eq!("Europe/Berlin".parse::<Zone>().unwrap().offset_seconds(u64::MAX), 0);
    }

    #[test]
    fn what_is_no_zone_is_named_and_one_that_is() {
        for name in ["Atlantis", "", "CEST+1", "../../etc/passwd", "Europe/Berlin "] {
            let error = name.parse::<Zone>().unwrap_err();
            assert!(error.contains(&format!("'{name}'")) && error.contains("Europe/Berlin"), "{error}");
        }
    }
}
