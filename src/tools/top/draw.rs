//! Draws the screen of `top`. A smaller terminal shows less.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Sparkline, Table, Wrap};

use super::app::{App, Contact, Instance, Mode};
use super::rows::Column;
use crate::running::findings::verdict;
use crate::running::labels::told_of;
use crate::shared::finding::{Finding, Severity};
use crate::shared::words::{bytes, count, duration, plain, rate, some, wrapped};
use status::document::{Document, Manager, ManagerState, State};

const BAR_COLUMNS: usize = 6;

const HELP: &str = "\
↓ ↑ j k     select a manager         s S → ←  sort by next, previous column
PgDn PgUp   move by a page           r        reverse the order
g G         first, last manager      /        filter the managers by text
h           hold the selected one:   Esc      clear the filter, or quit
            it gets no more tasks    p space  pause, continue
Tab         the next interchange     q Ctrl-C quit
";

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    let (findings, sparks, events) = match area.height {
        0..12 => (1, 0, 0),
        12..22 => (2, 0, 0),
        22..32 => (3, 3, 4),
        _ => (5, 4, 8),
    };
    let [head, found, spark, table, latest, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(findings),
        Constraint::Length(sparks),
        Constraint::Min(3),
        Constraint::Length(events),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, head, app);
    draw_findings(frame, found, app.shown());
    if sparks > 0 {
        draw_sparks(frame, spark, app.shown());
    }
    draw_managers(frame, table, app);
    if events > 0 {
        draw_events(frame, latest, app.shown());
    }
    draw_foot(frame, foot, app);
    if app.mode == Mode::Help {
        draw_help(frame, area);
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let instance = app.shown();
    let mut name = vec![Span::from(instance.name.as_str()).bold()];
    if let (place, several @ 2..) = app.place() {
        name.push(Span::from(format!(" ({place} of {several}, Tab: next)")));
    }
    if app.is_paused {
        name.push(Span::from(" PAUSED").yellow().bold());
    }
    let Some(document) = &instance.document else {
        frame.render_widget(Line::from(name), area);
        return;
    };
    let about = &document.interchange;
    let [first, second] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let leaving = match document.state {
        State::Running => "",
        State::Leaving => "ENDING, ",
    };
    let restarts = match &document.restart {
        None => String::new(),
        Some(restart) => format!(", restarted {}", some(restart.number, "time")),
    };
    let up = format!(
        "{leaving}{} on {}, up {}{restarts}",
        about.pid,
        plain(&about.host),
        duration(about.uptime_s)
    );
    // The name identifies the interchange. Other information is left out if there is no room.
    let name = Line::from(name);
    let room = usize::from(first.width).saturating_sub(name.width() + 2);
    if up.chars().count() <= room {
        frame.render_widget(Line::from(up).alignment(Alignment::Right), first);
    }
    let name_area = Rect {
        width: first.width.min(name.width() as u16),
        ..first
    };
    frame.render_widget(name, name_area);
    frame.render_widget(Line::from(numbers(document)), second);
}

fn numbers(document: &Document) -> String {
    let lately = document.rates.last_5_s;
    // If all tasks fit a manager, other numbers use the room.
    let unmet = match document.queue.unmet_tasks() {
        0 => String::new(),
        tasks => format!(" ({} fit no manager)", count(tasks)),
    };
    format!(
        "queue {}{unmet}  in flight {}  in {}/s  done {}/s  managers {}  lost {}  mem {}",
        count(document.queue.tasks),
        count(document.in_flight),
        rate(lately.received),
        rate(lately.done),
        count(document.managers.len()),
        count(document.totals.tasks_lost),
        bytes(document.process.resident_bytes)
    )
}

fn draw_findings(frame: &mut Frame<'_>, area: Rect, instance: &Instance) {
    let columns = usize::from(area.width).max(1);
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut add = |text: &str, style: Style| {
        let wrapped = wrapped(text, columns).into_iter();
        lines.extend(wrapped.map(|line| Line::styled(line, style)));
    };
    match &instance.contact {
        Contact::Answers => {}
        Contact::Silent(why) => add(why, style_of(Severity::Problem)),
        Contact::Ended(words) => add(&format!("ENDED: {words}"), style_of(Severity::Problem)),
    }
    // Findings from before the end do not matter any more.
    let findings = match instance.contact {
        Contact::Ended(_) => &[],
        Contact::Answers | Contact::Silent(_) => instance.findings.as_slice(),
    };
    if let [
        Finding {
            severity: Severity::Note,
            ..
        },
        ..,
    ] = findings
    {
        add(&verdict(findings), style_of(Severity::Note));
    }
    for finding in findings {
        let text = match finding.severity {
            Severity::Note => finding.what.clone(),
            Severity::Warning | Severity::Problem => {
                format!("{}: {}", finding.severity.name(), finding.what)
            }
        };
        add(&text, style_of(finding.severity));
    }
    // Advice follows below the findings, where there is room.
    for finding in findings {
        add(&finding.advice(), Style::new().dim());
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn style_of(severity: Severity) -> Style {
    match severity {
        Severity::Problem => Style::new().red().bold(),
        Severity::Warning => Style::new().yellow(),
        Severity::Note => Style::new().green(),
    }
}

fn draw_sparks(frame: &mut Frame<'_>, area: Rect, instance: &Instance) {
    let [left, right] = Layout::horizontal([Constraint::Ratio(1, 2); 2]).areas(area);
    let history = &instance.history;
    draw_spark(frame, left, "done/s", &history.done_a_second, Color::Green);
    draw_spark(frame, right, "queue", &history.queued, Color::Cyan);
}

fn draw_spark(
    frame: &mut Frame<'_>,
    area: Rect,
    name: &str,
    points: &VecDeque<u64>,
    colour: Color,
) {
    let [title, graph] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
    let room = usize::from(area.width.saturating_sub(1));
    let shown: Vec<u64> = points
        .iter()
        .skip(points.len().saturating_sub(room))
        .copied()
        .collect();
    let most = shown.iter().max().copied().unwrap_or(0);
    let now = shown.last().copied().unwrap_or(0);
    let text = format!("{name} {}, maximum {}", count(now), count(most));
    frame.render_widget(Line::from(text).dim(), title);
    frame.render_widget(Sparkline::default().data(shown).style(colour), graph);
}

/// Returns the columns for which there is room, with their widths.
fn columns(width: u16) -> Vec<(Column, Constraint)> {
    let wanted = [
        (Column::Block, Constraint::Length(6), 0),
        (Column::Host, Constraint::Min(8), 0),
        (Column::Manager, Constraint::Length(12), 78),
        (Column::State, Constraint::Length(8), 0),
        (Column::InFlight, Constraint::Length(16), 48),
        (Column::Done, Constraint::Length(7), 56),
        (Column::Rate, Constraint::Length(6), 64),
        (Column::Unheard, Constraint::Length(8), 70),
        (Column::Idle, Constraint::Length(10), 92),
    ];
    wanted
        .into_iter()
        .filter(|(_, _, least)| width >= *least)
        .map(|(column, constraint, _)| (column, constraint))
        .collect()
}

fn draw_managers(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    app.scroll(usize::from(area.height.saturating_sub(1)));
    let app = &*app;
    let instance = app.shown();
    let Some(document) = &instance.document else {
        return;
    };
    let columns = columns(area.width);
    let heads = columns.iter().map(|(column, _)| {
        let name = column.name();
        match (*column == app.order.by, app.order.descending) {
            (true, true) => format!("{name}▼"),
            (true, false) => format!("{name}▲"),
            _ => name.to_owned(),
        }
    });
    let heads = Row::new(heads).style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = app.selected_line();
    // Only visible managers become rows, because there may be ten thousand.
    let lines = app.listed.iter().enumerate().skip(app.top).take(app.page);
    let rows = lines.map(|(line, place)| {
        let manager = &document.managers[*place];
        let cells = columns
            .iter()
            .map(|(column, _)| cell(*column, manager, instance));
        let row = Row::new(cells);
        match selected == Some(line) {
            true => row.style(Style::new().bg(Color::Blue).fg(Color::White)),
            false => row,
        }
    });
    let widths = columns.iter().map(|(_, width)| *width);
    let table = Table::new(rows, widths).header(heads).column_spacing(1);
    frame.render_widget(table, area);
    if app.listed.is_empty() && area.height > 1 {
        let text = match (document.managers.is_empty(), app.filter.is_empty()) {
            (true, _) => "No manager is registered.",
            _ => "No manager matches the filter; Esc shows all.",
        };
        let below = Rect {
            y: area.y + 1,
            height: 1,
            ..area
        };
        frame.render_widget(Line::from(text), below);
    }
}

fn cell<'a>(column: Column, manager: &Manager, instance: &Instance) -> Cell<'a> {
    match column {
        Column::Block => Cell::from(plain(&manager.block)),
        Column::Host => Cell::from(plain(&manager.host)),
        Column::Manager => Cell::from(plain(&manager.id)),
        Column::State => {
            let state = manager.state();
            let style = match state {
                ManagerState::Suspect => Style::new().red(),
                ManagerState::Draining | ManagerState::Held | ManagerState::Awaited => {
                    Style::new().yellow()
                }
                ManagerState::Reserved => Style::new().cyan(),
                ManagerState::Full | ManagerState::Busy => Style::new().green(),
                ManagerState::Idle => Style::new(),
            };
            Cell::from(state.name()).style(style)
        }
        Column::InFlight => {
            let (load, most) = manager.load();
            let unit = if manager.has_wide_tasks() {
                " slots"
            } else {
                ""
            };
            Cell::from(format!("{} {load}/{most}{unit}", bar(manager)))
        }
        Column::Done => Cell::from(count(manager.tasks_done)),
        Column::Rate => Cell::from(rate(instance.history.rate_of(&manager.id))),
        Column::Unheard => Cell::from(duration(manager.last_heard_s)),
        Column::Idle => Cell::from(manager.idle_s.map_or("-".to_owned(), duration)),
    }
}

/// Draws how full a manager is.
fn bar(manager: &Manager) -> String {
    let (load, most) = manager.load();
    let share = load as f64 / most.max(1) as f64;
    let full = (share.min(1.0) * BAR_COLUMNS as f64).round() as usize;
    "█".repeat(full) + &"░".repeat(BAR_COLUMNS - full)
}

fn draw_events(frame: &mut Frame<'_>, area: Rect, instance: &Instance) {
    let Some(document) = &instance.document else {
        return;
    };
    let room = usize::from(area.height.saturating_sub(1));
    let first = document.events.len().saturating_sub(room);
    let title = Line::from("Latest changes of managers").dim();
    let events = document.events[first..].iter();
    let lines = std::iter::once(title).chain(events.map(|event| Line::from(told_of(event))));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let line = match &app.mode {
        Mode::Filtering(_) => Line::from(format!("/{}▏ Enter applies, Esc cancels", app.filter)),
        Mode::Confirming(manager) => {
            let question = format!("Hold {}? It never gets tasks again. y/n", plain(manager));
            Line::from(question).yellow().bold()
        }
        _ if !app.message.is_empty() => Line::from(app.message.as_str()).bold(),
        Mode::Watching | Mode::Help => {
            let shown = match app.filter.is_empty() {
                true => String::new(),
                false => format!("[{}: {}] ", app.filter, count(app.listed.len())),
            };
            Line::from(format!(
                "{shown}q quit  ? keys  s sort  r reverse  / filter  h hold  p pause  Tab next"
            ))
            .dim()
        }
    };
    frame.render_widget(line, area);
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let columns = HELP.lines().map(|line| line.chars().count()).max();
    let width = (columns.unwrap_or(0) as u16 + 4).min(area.width);
    let height = (HELP.lines().count() as u16 + 2).min(area.height);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(" Keys (press any key to close) ");
    let text = Paragraph::new(HELP).wrap(Wrap { trim: false }).block(block);
    frame.render_widget(text, place);
}
