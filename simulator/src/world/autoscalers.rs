//! Where the cluster's own autoscalers carry decisions out: each variant has one, which reads the
//! published count from Prometheus.

use optimizer::observation::Bounds;
use optimizer::units::{Replicas, Seconds, Timestamp};

use crate::autoscaling::{Actuation, Actuator, Phase, Pod, Readiness, ScaleTarget};
use crate::fleet::{Fleet, Replica, State};
use crate::prometheus::Series;
use crate::setup::Setup;

/// The autoscalers of all variants.
#[derive(Debug)]
pub(super) struct Autoscalers {
    variants: Vec<Autoscaler>,
    /// How old a sample is when it can first be queried.
    lag: Seconds,
}

#[derive(Debug)]
struct Autoscaler {
    /// `None` where there can be no replica.
    actuator: Option<Actuator>,
    /// The count that the controller shows, once it has decided.
    published: Option<Replicas>,
    /// What Prometheus has of it.
    gauge: Series,
}

impl Autoscalers {
    /// `None` where the controller sets replica counts itself.
    pub(super) fn new(setup: &Setup) -> Option<Self> {
        let actuation = setup.control.actuation;
        if actuation == Actuation::Direct {
            return None;
        }
        let autoscaler = |bounds: Bounds| Autoscaler {
            actuator: actuator(actuation, bounds),
            published: None,
            gauge: Series::default(),
        };
        let variants = setup.variants.iter().map(|variant| autoscaler(variant.bounds)).collect();
        Some(Self { variants, lag: setup.control.scrape_lag })
    }

    /// Shows what was decided, by variant.
    pub(super) fn publish(&mut self, desired: &[Replicas]) {
        for (variant, desired) in self.variants.iter_mut().zip(desired) {
            variant.published = Some(*desired);
        }
    }

    /// Takes a sample of what is shown.
    pub(super) fn scrape(&mut self, now: Timestamp) {
        for variant in &mut self.variants {
            if let Some(published) = variant.published {
                // Scrapes of the same millisecond show the same: the first one counts.
                let _ = variant.gauge.push(now, published.as_f64());
                variant.gauge.forget(now, self.lag);
            }
        }
    }

    /// When [`Self::look`] has to be called next.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        self.variants
            .iter()
            .filter_map(|variant| variant.actuator.as_ref())
            .map(Actuator::next_look)
            .min()
    }

    /// Lets those look whose time it is, and returns the counts that are asked for, by variant.
    pub(super) fn look(&mut self, now: Timestamp, fleet: &Fleet) -> Vec<Replicas> {
        let lag = Timestamp::ZERO + self.lag;
        let seen = Timestamp::from_nanos(now.as_nanos().saturating_sub(lag.as_nanos()));
        let mut counts = Vec::with_capacity(self.variants.len());
        for (idx, variant) in self.variants.iter_mut().enumerate() {
            let spec_replicas = fleet.desired(idx);
            let Some(actuator) = &mut variant.actuator else {
                counts.push(spec_replicas);
                continue;
            };
            let pods: Vec<Pod> =
                fleet.members(idx).map(|(name, replica)| pod(name.0, replica)).collect();
            let status_replicas = fleet.counts(idx).current();
            let target = ScaleTarget { spec_replicas, status_replicas, pods: &pods };
            counts.push(actuator.look(now, &target, variant.gauge.instant(seen)));
        }
        counts
    }
}

/// Where the minimum lies above the maximum, the maximum counts, as it does for the controller.
fn actuator(actuation: Actuation, bounds: Bounds) -> Option<Actuator> {
    let (min, max) = (bounds.clamp(Replicas::ZERO), bounds.max);
    let now = Timestamp::ZERO;
    match actuation {
        Actuation::Direct => None,
        Actuation::Hpa => Actuator::hpa(now, min, max, None).ok(),
        Actuation::Keda => Actuator::keda(now, min, max, None).ok(),
    }
}

/// A replica as its pod shows it. One that waits for GPUs is not scheduled, so it has not started.
fn pod(uid: u32, replica: &Replica) -> Pod {
    let since = replica.placed.unwrap_or(Timestamp::ZERO);
    let readiness = Readiness { ready: replica.state == State::Ready, since };
    Pod {
        phase: if replica.placed.is_some() { Phase::Running } else { Phase::Pending },
        deleted: matches!(replica.state, State::Draining | State::Gone),
        readiness: Some(readiness),
        ..Pod::running(uid.into(), since)
    }
}
