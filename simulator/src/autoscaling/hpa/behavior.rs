//! How fast an HPA may scale: `spec.behavior`.
//!
//! The rules are those of `normalizeDesiredReplicasWithBehaviors` and what it calls in Kubernetes'
//! `pkg/controller/podautoscaler/horizontal.go`; the defaults are those of
//! `pkg/apis/autoscaling/v2/defaults.go`.

use optimizer::units::{Seconds, Timestamp};

/// The rules in both directions.
#[derive(Debug, Clone, PartialEq)]
pub struct Behavior {
    /// For more replicas.
    pub scale_up: ScalingRules,
    /// For fewer.
    pub scale_down: ScalingRules,
}

/// The rules in one direction.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingRules {
    /// Nothing is done that some wish of this time did not ask for; at most an hour. `None` is the
    /// controller's window, in the direction down only.
    pub stabilization_window: Option<Seconds>,
    /// Which of the policies counts.
    pub select: SelectPolicy,
    /// How far a count may move in a period; at least one.
    pub policies: Vec<ScalingPolicy>,
    /// How far a metric may be off its target before anything is done, as a share of it; `None` is
    /// the controller's. Behind the feature gate `HPAConfigurableTolerance` in 1.34.
    pub tolerance: Option<f64>,
}

/// Which of several policies counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectPolicy {
    /// The one that allows the greatest change.
    Max,
    /// The one that allows the smallest change.
    Min,
    /// None: there is no scaling in this direction.
    Disabled,
}

/// How far a count may move within a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScalingPolicy {
    /// How far; more than nothing.
    pub change: PolicyChange,
    /// The time that the change is counted over, more than nothing and at most half an hour.
    pub period: Seconds,
}

/// How far a count may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyChange {
    /// By so many pods.
    Pods(u32),
    /// By so many percent of the pods at the beginning of the period.
    Percent(u32),
}

impl Default for Behavior {
    fn default() -> Self {
        Self { scale_up: ScalingRules::up(), scale_down: ScalingRules::down() }
    }
}

impl ScalingRules {
    /// The default for more replicas: at once, by 4 pods or by 100 % within 15 s, whichever is more.
    #[must_use]
    pub fn up() -> Self {
        let policy = |change| ScalingPolicy { change, period: Seconds::new(15.0) };
        Self {
            stabilization_window: Some(Seconds::ZERO),
            select: SelectPolicy::Max,
            policies: vec![policy(PolicyChange::Pods(4)), policy(PolicyChange::Percent(100))],
            tolerance: None,
        }
    }

    /// The default for fewer replicas: after the controller's window, by 100 % within 15 s.
    #[must_use]
    pub fn down() -> Self {
        let change = PolicyChange::Percent(100);
        Self {
            stabilization_window: None,
            select: SelectPolicy::Max,
            policies: vec![ScalingPolicy { change, period: Seconds::new(15.0) }],
            tolerance: None,
        }
    }

    /// Whether a cluster would take the rules: what the fields say of themselves.
    pub(super) fn is_valid(&self) -> bool {
        let within = |span: Seconds, most: f64| span <= Seconds::from_minutes(most);
        let policy = |policy: &ScalingPolicy| {
            let (PolicyChange::Pods(change) | PolicyChange::Percent(change)) = policy.change;
            change > 0 && policy.period > Seconds::ZERO && within(policy.period, 30.0)
        };
        self.stabilization_window.is_none_or(|window| within(window, 60.0))
            && !self.policies.is_empty()
            && self.policies.iter().all(policy)
            && self.tolerance.is_none_or(|tolerance| tolerance >= 0.0 && tolerance.is_finite())
    }

    /// The most replicas that the rules allow.
    pub(super) fn most(&self, now: Timestamp, current: i64, history: &ScaleHistory) -> i64 {
        let allowed = self.policies.iter().map(|policy| {
            let begin = current - history.change_within(now, policy.period);
            match policy.change {
                PolicyChange::Pods(pods) => begin + i64::from(pods),
                PolicyChange::Percent(percent) => {
                    whole((begin as f64 * (1.0 + f64::from(percent) / 100.0)).ceil())
                }
            }
        });
        let most = match self.select {
            SelectPolicy::Max => allowed.max(),
            SelectPolicy::Min => allowed.min(),
            SelectPolicy::Disabled => None,
        };
        // A rule that was passed earlier does not take anything back.
        most.map_or(current, |most| most.max(current))
    }

    /// The fewest replicas that the rules allow.
    pub(super) fn fewest(&self, now: Timestamp, current: i64, history: &ScaleHistory) -> i64 {
        let allowed = self.policies.iter().map(|policy| {
            let begin = current - history.change_within(now, policy.period);
            match policy.change {
                PolicyChange::Pods(pods) => begin - i64::from(pods),
                PolicyChange::Percent(percent) => {
                    whole(begin as f64 * (1.0 - f64::from(percent) / 100.0))
                }
            }
        });
        let fewest = match self.select {
            SelectPolicy::Max => allowed.min(),
            SelectPolicy::Min => allowed.max(),
            SelectPolicy::Disabled => None,
        };
        fewest.map_or(current, |fewest| fewest.min(current))
    }

    fn longest_period(&self) -> Seconds {
        self.policies.iter().map(|policy| policy.period).max().unwrap_or(Seconds::ZERO)
    }
}

/// What an HPA lately did.
///
/// Upstream keeps one list for each direction, and reuses the place of an entry that is older than
/// all periods of that direction's policies. So a policy of the other direction that looks back
/// farther may miss it, here as there.
#[derive(Debug, Clone, Default)]
pub(super) struct ScaleHistory {
    up: Vec<ScaleEvent>,
    down: Vec<ScaleEvent>,
}

#[derive(Debug, Clone, Copy)]
struct ScaleEvent {
    at: Timestamp,
    replicas: i64,
}

impl ScaleHistory {
    /// Notes that a count was changed.
    pub(super) fn push(&mut self, now: Timestamp, from: i64, to: i64, behavior: &Behavior) {
        let (events, rules) = if to > from {
            (&mut self.up, &behavior.scale_up)
        } else {
            (&mut self.down, &behavior.scale_down)
        };
        let event = ScaleEvent { at: now, replicas: (to - from).abs() };
        let longest = rules.longest_period();
        match events.iter_mut().rfind(|event| event.at + longest < now) {
            Some(outdated) => *outdated = event,
            None => events.push(event),
        }
    }

    /// By how much the count has grown since the beginning of a period.
    fn change_within(&self, now: Timestamp, period: Seconds) -> i64 {
        let sum = |events: &[ScaleEvent]| {
            let recent = events.iter().filter(|event| event.at + period > now);
            recent.map(|event| event.replicas).sum::<i64>()
        };
        sum(&self.up) - sum(&self.down)
    }
}

/// Towards zero; the arguments lie within a few powers of ten of a replica count.
#[expect(clippy::cast_possible_truncation, reason = "saturation is wanted")]
fn whole(replicas: f64) -> i64 {
    replicas as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_seconds(10_000.0)
    }

    /// The rules that upstream's `generateScalingRules` makes; zero leaves a policy out.
    fn rules(pods: (u32, f64), percent: (u32, f64), default: &ScalingRules) -> ScalingRules {
        let policy = |change, period| ScalingPolicy { change, period: Seconds::new(period) };
        let mut policies = Vec::new();
        if pods.0 > 0 {
            policies.push(policy(PolicyChange::Pods(pods.0), pods.1));
        }
        if percent.0 > 0 {
            policies.push(policy(PolicyChange::Percent(percent.0), percent.1));
        }
        ScalingRules { policies, ..default.clone() }
    }

    /// Events in the middle of equal parts of the last `period` seconds, oldest first.
    fn spread(events: &[i64], period: f64) -> Vec<ScaleEvent> {
        let part = period / events.len() as f64;
        let event = |(place, &replicas): (usize, &i64)| {
            let ago = period - part * (place as f64 + 0.5);
            ScaleEvent { at: Timestamp::from_seconds(10_000.0 - ago), replicas }
        };
        events.iter().enumerate().map(event).collect()
    }

    /// The limits behind `TestScalingWithRules` in Kubernetes' `horizontal_test.go`, before the
    /// minimum and the maximum.
    #[test]
    fn limits() {
        const NONE: (u32, f64) = (0, 0.0);
        let up = |pods, percent, events: &[i64], downs: &[i64], current: i64, expected: i64| {
            let rules = rules(pods, percent, &ScalingRules::up());
            let history = ScaleHistory { up: spread(events, 120.0), down: spread(downs, 120.0) };
            let most = rules.most(now(), current, &history);
            assert_eq!(most, expected, "{pods:?} {percent:?} {events:?} {downs:?}");
        };
        let down = |pods, percent, ups: &[i64], events: &[i64], current: i64, expected: i64| {
            let rules = rules(pods, percent, &ScalingRules::down());
            let history = ScaleHistory { up: spread(ups, 120.0), down: spread(events, 120.0) };
            let fewest = rules.fewest(now(), current, &history);
            assert_eq!(fewest, expected, "{pods:?} {percent:?} {ups:?} {events:?}");
        };
        up(NONE, (1, 60.0), &[], &[], 3, 4);
        up((4, 15.0), (100, 15.0), &[], &[], 10, 20);
        up((100, 60.0), (100, 60.0), &[], &[], 10, 110);
        up((2, 60.0), (100, 60.0), &[], &[], 10, 20);
        up((30, 60.0), NONE, &[], &[], 10, 40);
        up(NONE, (200, 60.0), &[], &[], 10, 30);
        // 15 replicas came in the last 120 s, and 9 of them in the last 60 s.
        let fifteen = [1, 5, 9];
        up((5, 120.0), NONE, &fifteen, &[], 100, 100);
        up((150, 120.0), NONE, &fifteen, &[], 100, 235);
        up(NONE, (200, 120.0), &fifteen, &[], 100, 255);
        up(NONE, (300, 300.0), &[4], &[2], 6, 16);
        down((20, 60.0), NONE, &[], &[], 1000, 980);
        down((20, 60.0), (1, 60.0), &[], &[], 100, 80);
        down((2, 60.0), (1, 60.0), &[], &[], 100, 98);
        down((5, 60.0), NONE, &[], &[], 10, 5);
        down(NONE, (50, 60.0), &[], &[], 10, 5);
        down((5, 120.0), NONE, &[], &fifteen, 100, 100);
        down(NONE, (50, 120.0), &[], &[2, 4, 6], 100, 56);
        down(NONE, (50, 180.0), &[2], &[4], 10, 6);
        down(NONE, (10, 120.0), &[], &[10, 10, 10], 100, 100);
        down(NONE, (1000, 120.0), &[], &[10, 10, 10], 10, -360);
    }

    /// `TestCalculateScaleUpLimitWithScalingRules` and its counterpart for the other direction.
    #[test]
    fn which_policy_counts() {
        for (select, most, fewest) in
            [(SelectPolicy::Min, 2, 3), (SelectPolicy::Max, 3, 2), (SelectPolicy::Disabled, 1, 5)]
        {
            let rules = |default: &ScalingRules| ScalingRules {
                select,
                ..rules((2, 60.0), (50, 60.0), default)
            };
            let history = ScaleHistory::default();
            assert_eq!(rules(&ScalingRules::up()).most(now(), 1, &history), most, "{select:?}");
            let fewest_of = rules(&ScalingRules::down()).fewest(now(), 5, &history);
            assert_eq!(fewest_of, fewest, "{select:?}");
        }
    }

    /// `TestStoreScaleEvents`: the entries before, the policies, the change over a minute, and the
    /// entries after 5 replicas more.
    #[test]
    fn old_events_make_room() {
        type Entries<'a> = &'a [(i64, f64)];
        let check = |before: Entries<'_>, periods: [f64; 2], change: i64, after: &[i64]| {
            let event = |&(replicas, ago): &(i64, f64)| ScaleEvent {
                at: Timestamp::from_seconds(10_000.0 - ago),
                replicas,
            };
            let up = before.iter().map(event).collect();
            let mut history = ScaleHistory { up, ..ScaleHistory::default() };
            assert_eq!(history.change_within(now(), Seconds::new(60.0)), change, "{before:?}");
            let scale_up = rules((10, periods[0]), (100, periods[1]), &ScalingRules::up());
            let behavior = Behavior { scale_up, ..Behavior::default() };
            history.push(now(), 10, 15, &behavior);
            let left: Vec<_> = history.up.iter().map(|event| event.replicas).collect();
            assert_eq!(left, after, "{before:?}");
        };
        check(&[], [60.0, 60.0], 0, &[5]);
        check(&[(7, 61.0)], [60.0, 60.0], 0, &[5]);
        check(&[(7, 58.0)], [60.0, 60.0], 7, &[7, 5]);
        check(&[(7, 61.0), (6, 59.0)], [60.0, 60.0], 6, &[5, 6]);
        let four = [(8, 29.0), (6, 59.0), (7, 61.0), (9, 61.0)];
        check(&four, [60.0, 30.0], 14, &[8, 6, 7, 5]);
        check(&[(7, 58.0), (6, 59.0)], [120.0, 30.0], 13, &[7, 6, 5]);
    }

    #[test]
    fn a_cluster_refuses_some_rules() {
        let policy = |pods, period| ScalingPolicy {
            change: PolicyChange::Pods(pods),
            period: Seconds::new(period),
        };
        let with = |policies: Vec<_>| ScalingRules { policies, ..ScalingRules::up() };
        for (rules, valid) in [
            (ScalingRules::up(), true),
            (ScalingRules::down(), true),
            (with(vec![]), false),
            (with(vec![policy(0, 15.0)]), false),
            (with(vec![policy(1, 0.0)]), false),
            (with(vec![policy(1, 1800.0)]), true),
            (with(vec![policy(1, 1801.0)]), false),
            (ScalingRules { tolerance: Some(0.0), ..ScalingRules::up() }, true),
            (ScalingRules { tolerance: Some(f64::NAN), ..ScalingRules::up() }, false),
            (ScalingRules { tolerance: Some(-0.1), ..ScalingRules::up() }, false),
        ] {
            assert_eq!(rules.is_valid(), valid, "{rules:?}");
        }
        let window = Some(Seconds::new(3601.0));
        assert!(!ScalingRules { stabilization_window: window, ..ScalingRules::up() }.is_valid());
    }
}
