//! Captures the log lines of the code under test, for tests that expect a line or its absence.

use std::fmt::{self, Write as _};
use std::mem;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// One line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The line's level.
    pub level: Level,
    /// The message, without its fields.
    pub text: String,
}

/// Captures everything that this thread logs while the value exists.
pub struct Events {
    lines: Arc<Mutex<Vec<Line>>>,
    _guard: DefaultGuard,
}

impl Events {
    /// Starts capturing lines up to this level.
    pub fn capture(level: LevelFilter) -> Self {
        let lines = Arc::default();
        let collector = Collector {
            level,
            lines: Arc::clone(&lines),
        };
        let subscriber = tracing_subscriber::registry().with(collector);
        Self {
            lines,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Returns the lines since the last call.
    pub fn take(&self) -> Vec<Line> {
        mem::take(&mut self.lines.lock().expect("no test panics while it logs"))
    }
}

struct Collector {
    level: LevelFilter,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl<S: Subscriber> Layer<S> for Collector {
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > self.level {
            return;
        }
        let mut text = Message(String::new());
        event.record(&mut text);
        let mut lines = self.lines.lock().expect("no test panics while it logs");
        lines.push(Line {
            level,
            text: text.0,
        });
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").expect("a String takes everything");
        }
    }
}
