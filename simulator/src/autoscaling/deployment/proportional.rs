//! A new replica count in the middle of a rollout: shared out among the sets by their size, so that
//! a scale-up does not stake everything on pods that nobody has seen run.
//!
//! The rules are those of `scale` in Kubernetes' `pkg/controller/deployment/sync.go`.

use std::cmp::Reverse;

use super::{Deployment, SetStatus, count};

impl Deployment {
    /// Brings the sets to the new replica count and the surge on top of it.
    pub(super) fn share_out(&mut self, statuses: &[SetStatus], available: &[i64]) {
        let active: Vec<usize> =
            (0..self.sets.len()).filter(|set| self.sets[*set].replicas > 0).collect();
        if let [only] = active[..] {
            self.resize(only, self.replicas);
            return;
        }
        let new = self.sets.len() - 1;
        let newest = &self.sets[new];
        let is_saturated = !self.template_changed
            && [newest.replicas, newest.sized_for, available[new]] == [self.replicas; 3];
        if is_saturated {
            for old in active.into_iter().filter(|set| *set != new) {
                self.resize(old, 0);
            }
            return;
        }
        self.share_out_by_size(active, statuses);
    }

    fn share_out_by_size(&mut self, mut active: Vec<usize>, statuses: &[SetStatus]) {
        let at_most = if self.replicas > 0 { self.at_most() } else { 0 };
        let to_add = at_most - self.total();
        // Of equal sets the newer one grows first, and the older one shrinks first.
        if to_add > 0 {
            active.sort_by_key(|set| Reverse((self.sets[*set].replicas, *set)));
        } else {
            active.sort_by_key(|set| (Reverse(self.sets[*set].replicas), *set));
        }
        let existing: i64 = statuses.iter().map(|status| count(status.replicas)).sum();
        let mut left = to_add;
        let mut sizes = Vec::with_capacity(active.len());
        for set in &active {
            let share = self.share(*set, existing);
            let share = if to_add > 0 { share.min(left) } else { share.max(left) };
            let share = if left == 0 { 0 } else { share };
            sizes.push(self.sets[*set].replicas + share);
            left -= share;
        }
        // What rounding left over goes to or comes from the largest set.
        if let Some(largest) = sizes.first_mut() {
            *largest = (*largest + left).max(0);
        }
        for (set, size) in active.into_iter().zip(sizes) {
            self.resize(set, size);
        }
    }

    /// By how much a set changes if it keeps its part of the whole.
    fn share(&self, set: usize, existing: i64) -> i64 {
        let set = &self.sets[set];
        if self.replicas == 0 {
            return -set.replicas;
        }
        let whole = if set.sized_for_at_most == 0 { existing } else { set.sized_for_at_most };
        if whole == 0 {
            return 0;
        }
        let size = (set.replicas * self.at_most()) as f64 / whole as f64;
        #[expect(clippy::cast_possible_truncation, reason = "a replica count")]
        let size = size.round() as i64;
        size - set.replicas
    }
}
