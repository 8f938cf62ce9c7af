//! The switch's time, and how FreeSWITCH writes it.

use std::ops::Add;
use std::time::Duration;

/// A moment, in microseconds since the switch started. It never goes back: whoever drives the switch sees to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

impl Time {
    /// The duration since an earlier moment, in microseconds; zero if that is not earlier.
    pub fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// A wall-clock moment in UTC, split up for writing. The emulated machine's local time is UTC, as it was on the
/// machine of the transcripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    year: i64,
    month: usize,
    day: i64,
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Date {
    /// From microseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn from_unix_micros(micros: u64) -> Self {
        let seconds = micros / 1_000_000;
        let days = (seconds / 86_400) as i64;
        let of_day = seconds % 86_400;
        let (year, month, day) = civil_from_days(days);
        Self {
            year,
            month: month as usize,
            day,
            // 1970-01-01 was a Thursday.
            weekday: ((days + 4) % 7) as usize,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    /// `2026-11-23 04:02:48`
    pub(crate) fn local(self) -> String {
        let Self { year, month, day, hour, minute, second, .. } = self;
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }

    /// `Mon, 23 Nov 2026 04:02:48 GMT`
    pub(crate) fn gmt(self) -> String {
        const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let Self { year, month, day, weekday, hour, minute, second } = self;
        let (weekday, month) = (WEEKDAYS[weekday], MONTHS[month - 1]);
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }
}

/// Year, month and day of a count of days since 1970-01-01 in the Gregorian calendar: years are counted from March,
/// so that the leap day comes last, in eras of 400 years (146,097 days).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `0 years, 0 days, 0 hours, 3 minutes, 0 seconds, 42 milliseconds, 90 microseconds`
pub(crate) fn uptime(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    format!(
        "{} years, {} days, {} hours, {} minutes, {} seconds, {} milliseconds, {} microseconds",
        seconds / 31_536_000,
        seconds % 31_536_000 / 86_400,
        seconds % 86_400 / 3600,
        seconds % 3600 / 60,
        seconds % 60,
        micros / 1000 % 1000,
        micros % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pairs are of transcripts b_formats_call_life/sip_call_plain; the leap day is computed by hand.
    #[test]
    fn dates_are_written_as_freeswitch_does() {
        let date = Date::from_unix_micros(1_795_406_568_712_704);
        assert_eq!(date.local(), "2026-11-23 04:02:48");
        assert_eq!(date.gmt(), "Mon, 23 Nov 2026 04:02:48 GMT");
        assert_eq!(Date::from_unix_micros(951_782_400_000_000).gmt(), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(Date::from_unix_micros(0).gmt(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn uptime_is_written_as_freeswitch_does() {
        let text = "0 years, 0 days, 0 hours, 3 minutes, 0 seconds, 42 milliseconds, 90 microseconds";
        assert_eq!(uptime(180_042_090), text);
    }
}
