//! Finds the records that an earlier writer left. Valid records are not changed, so that opening
//! may be interrupted and repeated.

use std::io;

use crate::pages::Pages;
use crate::segment::{Head, UNIT_BYTES};

/// Takes over the segments and returns the places of their records.
pub(crate) fn adopt(pages: &mut Pages) -> io::Result<Vec<u64>> {
    pages.map_all()?;
    let mut places = Vec::new();
    let bytes = pages.memory().len()?;
    let mut unit = 0;
    while unit < pages.units() {
        let place = unit as usize * UNIT_BYTES;
        let word = pages.memory().word(place as u64)?;
        let head = Head::read(word, unit).filter(|head| {
            let is_there = place + head.bytes_min() <= bytes;
            is_there && pages.is_whole(unit, head.units())
        });
        match head {
            None => pages.give(unit, 1),
            Some(Head::Closing(units)) => {
                pages.clear(unit, units)?;
                pages.give(unit, units);
            }
            Some(head) => pages.adopt(head, unit, bytes, &mut places),
        }
        unit += head.map_or(1, Head::units);
    }
    // Releases pages that the writer has allocated and not used.
    for (unit, units) in pages.unused() {
        let bytes = units as usize * UNIT_BYTES;
        pages
            .memory()
            .give_back(unit as u64 * UNIT_BYTES as u64, bytes)?;
    }
    Ok(places)
}
