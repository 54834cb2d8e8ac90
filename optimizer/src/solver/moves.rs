//! temporary
use super::{Allocation, Problem};
use crate::units::Replicas;
/// t
pub fn grow(p: &Problem) -> Allocation {
    let mut a = p.current();
    for (g, c) in p.groups.iter().zip(&mut a.counts) {
        loop {
            if g.is_covered(c) {
                break;
            }
            let mut best: Option<(f64, usize)> = None;
            for (i, o) in g.options.iter().enumerate() {
                let cov: f64 = o.covers.iter().sum();
                if c[i] < o.max && cov > 0.0 {
                    let k = o.cost.value() / cov;
                    if best.is_none_or(|b| k < b.0) {
                        best = Some((k, i));
                    }
                }
            }
            let Some((_, i)) = best else { break };
            c[i] = c[i] + Replicas::new(1);
        }
    }
    a
}
/// t
pub fn shrink(p: &Problem) -> Allocation {
    let mut a = p.current();
    for (g, c) in p.groups.iter().zip(&mut a.counts) {
        let mut order: Vec<usize> = (0..g.options.len()).collect();
        order.sort_by(|a, b| g.options[*b].cost.cmp(&g.options[*a].cost));
        for i in order {
            while c[i] > g.options[i].min && c.iter().map(|c| c.get()).sum::<u32>() > 1 {
                let mut d = c.clone();
                d[i] = d[i] - Replicas::new(1);
                let ok = (0..g.options[0].kept.len()).all(|k| {
                    g.options
                        .iter()
                        .zip(&d)
                        .map(|(o, c)| {
                            if o.kept[k].is_infinite() {
                                f64::INFINITY
                            } else {
                                o.kept[k] * c.as_f64()
                            }
                        })
                        .sum::<f64>()
                        >= 1.0 - 1e-9
                });
                if !ok {
                    break;
                }
                *c = d;
            }
        }
    }
    a
}
