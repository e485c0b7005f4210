//! Times every step: `cargo bench --bench criterion`. An argument selects the steps whose names
//! contain it.

mod steps;

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};

use steps::{STEPS, Step, measured};

const WARM_UP: Duration = Duration::from_millis(300);
const MEASUREMENT: Duration = Duration::from_secs(1);
const SAMPLES: usize = 20;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .sample_size(SAMPLES)
        .configure_from_args();
    for step in &STEPS {
        time(&mut criterion, step);
    }
    criterion.final_summary();
}

fn time(criterion: &mut Criterion, step: &Step) {
    let mut group = criterion.benchmark_group("steps");
    group.throughput(Throughput::Elements(step.operations));
    group.bench_function(step.name, |bencher| {
        let mut work = (step.set_up)();
        bencher.iter_custom(|runs| {
            let mut spent = Duration::ZERO;
            for _ in 0..runs {
                work.prepare();
                let begin = Instant::now();
                measured(&mut *work);
                spent += begin.elapsed();
            }
            spent
        });
    });
    group.finish();
}
