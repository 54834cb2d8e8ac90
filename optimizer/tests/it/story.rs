//! A day in the life of a model, in short: the trail has to read well.

use std::fmt::Write;

use optimizer::Controller;
use optimizer::observation::Bounds;
use optimizer::units::{Replicas, Timestamp};

use crate::fleet::{fleet, thresholds, variant};

/// One observation: when, the load of each replica that is ready, and the L40S replicas.
struct Scene {
    title: &'static str,
    seconds: f64,
    kv: f64,
    current: u32,
    ready: u32,
}

const SCENES: [Scene; 10] = [
    Scene { title: "calm", seconds: 0.0, kv: 0.50, current: 2, ready: 2 },
    Scene { title: "load rises", seconds: 30.0, kv: 0.74, current: 2, ready: 2 },
    Scene { title: "not carried out yet", seconds: 60.0, kv: 0.76, current: 2, ready: 2 },
    Scene { title: "cold start", seconds: 90.0, kv: 0.78, current: 3, ready: 2 },
    Scene { title: "relief", seconds: 180.0, kv: 0.60, current: 3, ready: 3 },
    Scene { title: "load falls", seconds: 210.0, kv: 0.20, current: 3, ready: 3 },
    Scene { title: "still low", seconds: 450.0, kv: 0.20, current: 3, ready: 3 },
    Scene { title: "low for a whole window", seconds: 480.0, kv: 0.20, current: 3, ready: 3 },
    Scene { title: "carried out", seconds: 510.0, kv: 0.28, current: 2, ready: 2 },
    Scene { title: "low for another window", seconds: 810.0, kv: 0.28, current: 2, ready: 2 },
];

#[test]
fn a_rise_and_a_fall_of_load() {
    let mut controller = Controller::new(thresholds()).unwrap();
    let mut story = String::new();
    for scene in SCENES {
        let now = Timestamp::from_seconds(scene.seconds);
        let load = (scene.kv, 0.0);
        let mut large = variant("llama-h100", 4.0, now, &[load]);
        large.bounds.max = Some(Replicas::new(1));
        let mut small = variant("llama-l40s", 1.0, now, &vec![load; scene.ready as usize]);
        small.bounds = Bounds { min: Replicas::new(1), max: Some(Replicas::new(4)) };
        small.current = Replicas::new(scene.current);

        let decision = controller.step(now, &fleet(vec![large, small]));
        writeln!(story, "{}s: {}", scene.seconds, scene.title).unwrap();
        for v in &decision.variants {
            writeln!(story, "  {}: {} to {}, {}", v.variant, v.current, v.desired, v.action)
                .unwrap();
            for sentence in v.sentences() {
                writeln!(story, "    {sentence}").unwrap();
            }
        }
    }
    insta::assert_snapshot!(story);
}
