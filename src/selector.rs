//! The manager selector: a built-in one of the broker, or a user's, which Python runs.

use tracing::info;

use broker::{BlockIdSelector, PackSelector, RandomSelector, Selector, SpreadSelector};
use event_loop::{SelectorHelper, SelectorHelperCommand, SelectorHelperError};
use submit_side::config::{RawConfig, SelectorChoice};
use submit_side::versions::{self, Hints};

/// A user's own selector cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the manager selector {class} cannot be used: {problem}")]
pub(crate) struct SelectorError {
    class: String,
    problem: SelectorProblem,
}

#[derive(Debug, thiserror::Error)]
enum SelectorProblem {
    #[error("no Python was found to run it")]
    NoPython,
    #[error(transparent)]
    Helper(#[from] SelectorHelperError),
}

pub(crate) fn selector_of(choice: &SelectorChoice) -> Box<dyn Selector> {
    match choice {
        SelectorChoice::BlockId => Box::new(BlockIdSelector::default()),
        SelectorChoice::Spread => Box::new(SpreadSelector::default()),
        SelectorChoice::Pack => Box::new(PackSelector::default()),
        SelectorChoice::Random | SelectorChoice::User(_) => {
            Box::new(RandomSelector::new(rand::random()))
        }
    }
}

/// Starts the submit side's Python as a helper if the selector is a user's own class.
pub(crate) fn helper_of(
    choice: &SelectorChoice,
    hints: Hints,
    raw: &RawConfig<'_>,
) -> Result<Option<SelectorHelper>, SelectorError> {
    let SelectorChoice::User(class) = choice else {
        return Ok(None);
    };
    let helper = run(class, &hints, raw).map_err(|problem| SelectorError {
        class: class.clone(),
        problem,
    })?;
    Ok(Some(helper))
}

fn run(class: &str, hints: &Hints, raw: &RawConfig<'_>) -> Result<SelectorHelper, SelectorProblem> {
    let python = versions::python(hints).ok_or(SelectorProblem::NoPython)?;
    info!(
        "The manager selector {class} is run by {}",
        python.display()
    );
    let config = raw.bytes().to_vec();
    Ok(SelectorHelper::start(SelectorHelperCommand {
        python,
        config,
    })?)
}
