//! The wishes of the last minutes, and what a window makes of a new one.
//!
//! The rules are those of `stabilizeRecommendation` and `stabilizeRecommendationWithBehaviors` in
//! Kubernetes' `pkg/controller/podautoscaler/horizontal.go`.

use optimizer::units::{Seconds, Timestamp};

/// What was wished for lately, before any window, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Recommendations(Vec<(Timestamp, i64)>);

impl Recommendations {
    /// Remembers the count that an HPA found when it began, unless it began earlier.
    pub(super) fn begin(&mut self, now: Timestamp, current: i64) {
        if self.0.is_empty() {
            self.0.push((now, current));
        }
    }

    /// Without a behavior: the highest wish of the window. One that is just as old as the window is
    /// long still counts.
    pub(super) fn highest(&mut self, now: Timestamp, wish: i64, window: Seconds) -> i64 {
        self.0.retain(|(at, _)| *at + window >= now);
        self.0.push((now, wish));
        self.0.iter().map(|(_, wish)| *wish).max().unwrap_or(wish)
    }

    /// With a behavior: the current count, moved up to the lowest wish of one window if it is below,
    /// and then down to the highest wish of the other if it is above. A wish that is just as old as
    /// a window is long no longer counts.
    pub(super) fn between(
        &mut self,
        now: Timestamp,
        current: i64,
        wish: i64,
        up_window: Seconds,
        down_window: Seconds,
    ) -> i64 {
        let longer = up_window.max(down_window);
        self.0.retain(|(at, _)| *at + longer >= now);
        let within = |window: Seconds| {
            let recent = self.0.iter().filter(move |(at, _)| *at + window > now);
            recent.map(|(_, wish)| *wish)
        };
        let lowest = within(up_window).fold(wish, i64::min);
        let highest = within(down_window).fold(wish, i64::max);
        self.0.push((now, wish));
        current.max(lowest).min(highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes_ago(minutes: f64) -> Timestamp {
        Timestamp::from_seconds(10_000.0 - 60.0 * minutes)
    }

    fn recommendations(entries: &[(i64, f64)]) -> Recommendations {
        Recommendations(entries.iter().map(|&(wish, ago)| (minutes_ago(ago), wish)).collect())
    }

    /// `TestNormalizeDesiredReplicas` in Kubernetes' `horizontal_test.go`.
    #[test]
    fn the_highest_wish_of_five_minutes() {
        for (before, wish, expected) in [
            (&[][..], 5, 5),
            (&[(4, 2.0), (5, 1.0)], 3, 5),
            (&[(1, 2.0), (2, 1.0)], 3, 3),
            (&[(10, 10.0), (9, 9.0)], 3, 3),
            (&[(10, 10.0), (4, 1.0), (5, 2.0), (9, 9.0)], 3, 5),
            (&[(10, 5.0)], 3, 10),
            (&[(10, 5.01)], 3, 3),
        ] {
            let mut log = recommendations(before);
            let highest = log.highest(minutes_ago(0.0), wish, Seconds::from_minutes(5.0));
            assert_eq!(highest, expected, "{before:?}");
        }
    }

    /// `TestNormalizeDesiredReplicasWithBehavior` there: entries, current count, wish, the windows up
    /// and down in minutes, and what comes of it.
    #[test]
    fn between_the_wishes_of_two_windows() {
        let two = &[(4, 2.0), (5, 1.0)][..];
        let old = &[(10, 10.0), (9, 9.0)][..];
        for (before, current, wish, up, down, expected) in [
            (&[][..], 100, 5, 0.0, 0.0, 5),
            (two, 100, 3, 0.0, 3.0, 5),
            (two, 1, 7, 5.0, 0.0, 4),
            (&[(1, 2.0), (2, 1.0)], 100, 3, 5.0, 0.0, 3),
            (two, 1, 3, 0.0, 5.0, 3),
            (old, 100, 3, 0.0, 0.0, 3),
            (old, 1, 100, 0.0, 0.0, 100),
            (&[(10, 10.0), (4, 1.0), (5, 2.0), (9, 9.0)], 100, 3, 0.0, 3.0, 5),
            (&[(10, 100.0), (6, 1.0), (5, 2.0), (9, 3.0)], 1, 100, 5.0, 0.0, 5),
            (&[(2, 100.0), (3, 3.0)], 2, 1, 5.0, 5.0, 2),
            (&[(2, 100.0), (1, 3.0)], 2, 3, 5.0, 5.0, 2),
            (&[(9, 3.0)], 9, 3, 0.0, 3.0, 3),
            (&[(9, 2.99)], 9, 3, 0.0, 3.0, 9),
        ] {
            let mut log = recommendations(before);
            let [up, down] = [up, down].map(Seconds::from_minutes);
            let count = log.between(minutes_ago(0.0), current, wish, up, down);
            assert_eq!(count, expected, "{before:?} {wish}");
        }
    }

    #[test]
    fn what_no_window_sees_is_forgotten() {
        let mut log = Recommendations::default();
        log.begin(minutes_ago(10.0), 4);
        log.begin(minutes_ago(9.0), 5);
        assert_eq!(log.0, [(minutes_ago(10.0), 4)]);
        for minute in 0..9 {
            log.highest(minutes_ago(9.0 - f64::from(minute)), 1, Seconds::from_minutes(2.0));
        }
        assert_eq!(log.0.len(), 3);
    }
}
