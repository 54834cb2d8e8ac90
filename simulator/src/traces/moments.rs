//! Means and spreads of numbers that come one by one.

/// Count, mean and variance, updated value by value (Welford 1962), which stays exact where a sum of
/// squares would not. All spreads are those of the numbers themselves, not estimates for a larger
/// population.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Moments {
    count: f64,
    mean: f64,
    /// The sum of squared distances from the mean.
    squares: f64,
}

impl Moments {
    pub(super) fn add(&mut self, value: f64) {
        self.add_repeated(value, 1.0);
    }

    /// Adds a value `times` times (Chan, Golub and `LeVeque` 1983).
    pub(super) fn add_repeated(&mut self, value: f64, times: f64) {
        if times <= 0.0 {
            return;
        }
        let (before, distance) = (self.count, value - self.mean);
        self.count += times;
        self.mean += distance * times / self.count;
        self.squares += distance * distance * before * times / self.count;
    }

    pub(super) const fn count(&self) -> f64 {
        self.count
    }

    /// The mean; `None` when there are no numbers.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then_some(self.mean)
    }

    /// The variance; `None` when there are no numbers.
    pub(super) fn variance(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.squares / self.count)
    }

    /// Deviation over mean; `None` below two numbers, or when the mean is zero.
    pub(super) fn cv(&self) -> Option<f64> {
        let deviation = self.variance()?.sqrt();
        (self.count >= 2.0 && self.mean > 0.0).then(|| deviation / self.mean)
    }

    /// Variance over mean; `None` below two numbers, or when the mean is zero.
    pub(super) fn dispersion(&self) -> Option<f64> {
        let variance = self.variance()?;
        (self.count >= 2.0 && self.mean > 0.0).then(|| variance / self.mean)
    }
}

/// Pearson's correlation of pairs that come one by one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Correlation {
    x: Moments,
    y: Moments,
    /// The sum of products of the distances from the means.
    products: f64,
}

impl Correlation {
    pub(super) fn add(&mut self, x: f64, y: f64) {
        let distance = x - self.x.mean;
        self.x.add(x);
        self.y.add(y);
        self.products += distance * (y - self.y.mean);
    }

    /// The correlation; `None` when one of the two does not vary.
    pub(super) fn value(&self) -> Option<f64> {
        let scale = (self.x.squares * self.y.squares).sqrt();
        (scale > 0.0).then(|| self.products / scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) {
        assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?} is not {expected}");
    }

    #[test]
    fn moments_by_hand() {
        let mut moments = Moments::default();
        assert_eq!((moments.mean(), moments.cv(), moments.dispersion()), (None, None, None));
        for value in [2.0, 4.0, 9.0] {
            moments.add(value);
        }
        close(moments.mean(), 5.0);
        close(moments.variance(), 26.0 / 3.0);
        close(moments.dispersion(), 26.0 / 15.0);
        let mut once = moments;
        moments.add_repeated(1.0, 3.0);
        for _ in 0..3 {
            once.add(1.0);
        }
        close(moments.variance(), once.variance().unwrap());
    }

    #[test]
    fn a_line_correlates_fully() {
        let mut correlation = Correlation::default();
        correlation.add(1.0, 5.0);
        assert_eq!(correlation.value(), None);
        correlation.add(2.0, 3.0);
        correlation.add(4.0, -1.0);
        close(correlation.value(), -1.0);
    }
}
