//! One replica, one core, as a whole process: how many requests a second, in how much memory.
//!
//! ```sh
//! cargo run --release -p plimsoll-benches --example replica -- 100000000
//! ```
//!
//! Chat requests with the lengths of the Azure 2023 conversation trace, made as they are needed,
//! through one engine. All times to first token and between tokens go into histograms, so that the
//! memory is that of the requests in flight and of the histograms.

use std::env;
use std::error::Error;
use std::fs;
use std::time::Instant;

use benches::{LLAMA_8B_H100, chat, llama_8b_h100_config};
use hdrhistogram::Histogram;
use optimizer::units::{RequestRate, Timestamp};
use simulator::engine::{Engine, ModelServer, Observer, Request, RequestId, TokenGaps};

/// The latencies of requests, kept for those in flight and counted for all.
struct Recorder {
    /// When each request in flight arrived. Its name is its place here.
    arrivals: Vec<Timestamp>,
    vacant: Vec<u32>,
    ttft: Histogram<u64>,
    gaps: Histogram<u64>,
    finished: u64,
}

impl Recorder {
    fn arrive(&mut self, now: Timestamp) -> RequestId {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.arrivals.push(now);
            u32::try_from(self.arrivals.len() - 1).expect("fewer than 2^32 requests in flight")
        });
        self.arrivals[place as usize] = now;
        RequestId(place)
    }
}

impl Observer for Recorder {
    fn scheduled(&mut self, _: RequestId, _: Timestamp, _: u32) {}

    fn preempted(&mut self, _: RequestId) {}

    fn first_token(&mut self, id: RequestId, at: Timestamp) {
        let waited = at.as_nanos() - self.arrivals[id.0 as usize].as_nanos();
        self.ttft.record(waited).expect("the histogram grows");
    }

    /// The step in the middle of a run stands for all of it.
    fn token_gaps(&mut self, gaps: TokenGaps) {
        let middle = gaps.first + gaps.growth.times(gaps.steps / 2);
        self.gaps.record_n(middle.as_nanos(), gaps.steps * gaps.sequences).expect("it grows");
    }

    fn finished(&mut self, id: RequestId, _: Timestamp, _: u32) {
        self.vacant.push(id.0);
        self.finished += 1;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let count: u64 = env::args().nth(1).map_or(Ok(10_000_000), |count| count.parse())?;
    // An hour of traffic that comes round again, at other times each time.
    let hour = chat(43_200, RequestRate::new(12.0), 1);
    let length = hour.last().map_or(0, |(at, _)| at.as_nanos());

    let mut engine = Engine::new(llama_8b_h100_config(), LLAMA_8B_H100);
    let mut recorder = Recorder {
        arrivals: Vec::new(),
        vacant: Vec::new(),
        ttft: Histogram::new(3)?,
        gaps: Histogram::new(3)?,
        finished: 0,
    };
    let began = Instant::now();
    let rounds = (0_u64..).flat_map(|round| hour.iter().map(move |arrival| (round, arrival)));
    for (_, (round, (at, request))) in (0..count).zip(rounds) {
        let now = Timestamp::from_nanos(round * length + at.as_nanos());
        engine.advance(now, &mut recorder);
        let id = recorder.arrive(now);
        let request = Request { id, ..request.clone() };
        engine.submit(request, now, &mut recorder)?;
    }
    engine.advance(Timestamp::MAX, &mut recorder);
    let took = began.elapsed().as_secs_f64();

    println!("{} requests in {took:.1} s: {:.0} a second", recorder.finished, count as f64 / took);
    println!("at most {} in flight", recorder.arrivals.len());
    for (name, histogram) in [("TTFT", &recorder.ttft), ("ITL", &recorder.gaps)] {
        let millis = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        println!("{name} p50 {:.1} ms, p99 {:.1} ms", millis(0.5), millis(0.99));
    }
    // Linux alone tells it this way.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find(|line| line.starts_with("VmHWM:")) {
        println!("peak memory {}", peak.trim_start_matches("VmHWM:").trim());
    }
    Ok(())
}
