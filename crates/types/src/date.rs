//! Moments as text, in the three forms that Nacos and HTTP have. All of them are of UTC.

/// A moment as Spring prints it: `2026-11-21T00:50:20.757+00:00`.
pub fn timestamp(wall_ms: u64) -> String {
    let (days, ms) = (wall_ms / 86_400_000, wall_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}+00:00", ms % 1_000)
}

/// A moment as HTTP's headers show it: `Sat, 21 Nov 2026 00:50:53 GMT`.
pub fn http_date(wall_ms: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = wall_ms / 86_400_000;
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (wall_ms / 3_600_000 % 24, wall_ms / 60_000 % 60, wall_ms / 1_000 % 60);
    let (name, month) = (DAYS[days as usize % 7], MONTHS[month as usize - 1]);
    format!("{name}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// A moment as it stands in the name of a file: `20261121005053`.
pub fn compact_date(wall_ms: u64) -> String {
    timestamp(wall_ms)[..19].chars().filter(char::is_ascii_digit).collect()
}

/// The Gregorian date of a day counted from 1970-01-01 (the usual era arithmetic on a year that starts in March).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{compact_date, http_date, timestamp};

    #[test]
    fn moments_are_printed_for_headers_and_file_names() {
        assert_eq!(http_date(1_795_222_253_757), "Sat, 21 Nov 2026 00:50:53 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(compact_date(1_795_222_253_757), "20261121005053");
    }

    #[test]
    fn moments_are_printed_as_spring_prints_them() {
        for (ms, want) in [
            (0, "1970-01-01T00:00:00.000+00:00"),
            (951_782_400_000, "2000-02-29T00:00:00.000+00:00"),
            (951_868_799_999, "2000-02-29T23:59:59.999+00:00"),
            (1_795_222_220_757, "2026-11-21T00:50:20.757+00:00"),
        ] {
            assert_eq!(timestamp(ms), want);
        }
    }
}
