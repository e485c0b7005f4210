//! `top [DIR]`: running interchanges, live in the terminal.
//!
//! One thread draws and reads keys. Two other threads query interchanges, because a query of a
//! stopped interchange blocks until its timeout. One queries the interchange that is shown, the
//! other all.

mod app;
mod draw;
mod history;
mod rows;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use clap::Args;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGTERM};

use crate::running::client::{self, Found, PATIENCE};
use crate::running::search::{Survey, below, none_found, survey, with_directory};
use crate::shared::charset::{Charset, Screen};
use crate::shared::output::{Trouble, complain};
use crate::shared::paper::is_dumb;
use crate::shared::words::command;
use status::asking::{Held, Request};

use app::{Action, App, Update};

const NOT_A_TERMINAL: u8 = 2;
const NONE_FOUND: u8 = 3;
/// The exit status with which a shell reports the end by SIGTERM.
const TERMINATED: u8 = 128 + 15;

/// Interval between two queries of the interchange that is shown.
const REFRESH: Duration = Duration::from_secs(1);
/// Interval between two searches for all interchanges.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Maximum wait for a key, after which signals and answers are checked.
const LOOK_UP: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 a key ended it; 2 wrong arguments, or no terminal; 3 no \
                  interchange found."
)]
pub struct Arguments {
    /// Only interchanges whose log directory is DIR or below it: runinfo/003/htex, runinfo/003, or
    /// runinfo for its latest run. Default: all interchanges of this user on this machine.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// The socket of the interchange that is shown, shared with the thread that queries it.
type Shown = Arc<RwLock<PathBuf>>;

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Trouble> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Ok(not_drawn("top needs a terminal", arguments));
    }
    if is_dumb() {
        return Ok(not_drawn(
            "top needs a terminal that can move its cursor, and TERM says that this one cannot \
             (dumb)",
            arguments,
        ));
    }
    with_directory(arguments.directory.as_deref(), || watch(arguments))
}

/// Reports that `top` cannot draw, and names the tool to use instead.
fn not_drawn(why: &str, arguments: &Arguments) -> ExitCode {
    const INSTEAD: &str = "htex-interchange status";
    let instead = match &arguments.directory {
        Some(directory) => command(INSTEAD, directory),
        None => format!("`{INSTEAD}`"),
    };
    complain(format!(
        "htex-interchange: {why}; {instead} prints the same information as text\n"
    ));
    ExitCode::from(NOT_A_TERMINAL)
}

fn watch(arguments: &Arguments) -> Result<ExitCode, Trouble> {
    let Survey { found, places } = survey();
    let found = chosen(found, arguments);
    if found.is_empty() {
        let text = none_found(arguments.directory.as_deref(), &places);
        complain(text);
        return Ok(ExitCode::from(NONE_FOUND));
    }
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let mut app = App::new(found);
    let shown = Arc::new(RwLock::new(app.socket().to_owned()));
    let (updates, incoming) = mpsc::channel();
    let holds = start_asking(updates, &shown, arguments);
    // ratatui's set-up also makes a panic restore the terminal. Its own terminal is not used,
    // because that writes only UTF-8.
    ratatui::try_init()?;
    let screen = Screen::new(io::stdout(), Charset::of_reader());
    let mut terminal = Terminal::new(CrosstermBackend::new(screen))?;
    thread::spawn(end_with_the_terminal);
    let outcome = live(&mut terminal, &mut app, &incoming, &holds, &shown, &ended);
    ratatui::try_restore()?;
    outcome?;
    Ok(match ended.load(Ordering::Relaxed) {
        true => ExitCode::from(TERMINATED),
        false => ExitCode::SUCCESS,
    })
}

/// Ends the process when its terminal is gone (a closed window, a broken connection). The thread
/// that waits for keys would then read an end of input again and again, and would see no signal.
fn end_with_the_terminal() {
    let stdin = io::stdin();
    // Without requested events, poll reports only the hang-up.
    let mut terminal = [PollFd::new(&stdin, PollFlags::empty())];
    while matches!(poll(&mut terminal, None), Err(Errno::INTR)) {}
    thread::sleep(LOOK_UP);
    process::exit(i32::from(TERMINATED));
}

fn chosen(found: Vec<Found>, arguments: &Arguments) -> Vec<Found> {
    match &arguments.directory {
        Some(directory) => below(found, directory, false).0,
        None => found,
    }
}

/// Draws and handles keys and updates until a key or a signal ends the loop.
fn live(
    terminal: &mut Terminal<CrosstermBackend<Screen<io::Stdout>>>,
    app: &mut App,
    incoming: &Receiver<Update>,
    holds: &Sender<(PathBuf, String)>,
    shown: &Shown,
    ended: &AtomicBool,
) -> io::Result<()> {
    let mut is_stale = true;
    while !ended.load(Ordering::Relaxed) {
        if is_stale {
            terminal.draw(|frame| draw::draw(frame, app))?;
        }
        is_stale = false;
        if event::poll(LOOK_UP)? {
            is_stale = true;
            let action = match event::read()? {
                Event::Key(key) => app.handle_key(key),
                Event::Paste(text) => app.handle_paste(&text),
                Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Resize(..) => None,
            };
            match action {
                Some(Action::Quit) => return Ok(()),
                Some(Action::Hold { manager }) => {
                    let _ = holds.send((app.socket().to_owned(), manager));
                }
                Some(Action::Switch) => show(shown, app),
                None => {}
            }
        }
        for update in incoming.try_iter() {
            app.handle_update(update);
            is_stale = true;
            // A restarted interchange has another socket.
            show(shown, app);
        }
    }
    Ok(())
}

fn show(shown: &Shown, app: &App) {
    let mut shown = shown.write().unwrap_or_else(PoisonError::into_inner);
    app.socket().clone_into(&mut shown);
}

/// Starts the two threads that query interchanges. Returns a sender for managers to hold.
fn start_asking(
    updates: Sender<Update>,
    shown: &Shown,
    arguments: &Arguments,
) -> Sender<(PathBuf, String)> {
    let (holds, wanted) = mpsc::channel();
    let (to_app, shown) = (updates.clone(), Arc::clone(shown));
    thread::spawn(move || ask_shown(&to_app, &shown, &wanted));
    let directory = arguments.directory.clone();
    thread::spawn(move || {
        let arguments = Arguments { directory };
        loop {
            thread::sleep(LOOK_EVERY);
            let found = chosen(survey().found, &arguments);
            if updates.send(Update::All(found)).is_err() {
                return;
            }
        }
    });
    holds
}

fn ask_shown(updates: &Sender<Update>, shown: &Shown, wanted: &Receiver<(PathBuf, String)>) {
    loop {
        let message = match wanted.recv_timeout(REFRESH) {
            Ok((socket, manager)) => Update::Held(hold(&socket, manager)),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let socket = shown.read().unwrap_or_else(PoisonError::into_inner).clone();
                let found = client::ask_one(&socket);
                Update::Shown(socket, found)
            }
        };
        if updates.send(message).is_err() {
            return;
        }
    }
}

/// Holds a manager, and describes the result.
fn hold(socket: &std::path::Path, manager: String) -> String {
    let request = Request::Hold {
        manager: manager.clone(),
    };
    let answer = client::ask(socket, &request, PATIENCE);
    let held = answer
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match held {
        Some(Held { held: true }) => format!("{manager} is held."),
        Some(Held { held: false }) => format!("{manager} is not registered any more."),
        None => format!("{manager} could not be held, because the interchange did not answer."),
    }
}
