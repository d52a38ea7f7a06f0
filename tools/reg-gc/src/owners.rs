//! Which repository loses a blob: the first, by name, whose link to it goes. Pure.

use crate::examine::Gone;
use crate::plan::Plan;

/// For each blob that goes, in their order, the repository by its place in the plan, and 1; 0 where none loses it.
#[derive(Debug)]
pub(crate) struct Owners(Vec<u32>);

impl Owners {
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut owners = vec![0; plan.loose.len()];
        for (number, (_, findings)) in plan.repositories.iter().enumerate() {
            for gone in findings.revisions.iter().chain(&findings.layers) {
                if let Gone::Link(place) = *gone
                    && let Ok(place) = usize::try_from(place)
                    && let Some(owner) = index(plan, place).and_then(|index| owners.get_mut(index)).filter(|owner| **owner == 0)
                {
                    *owner = u32::try_from(number + 1).unwrap_or(0);
                }
            }
        }
        Self(owners)
    }

    /// The name of the repository that loses the blob at a place.
    pub(crate) fn of_blob<'a>(&self, plan: &'a Plan, place: usize) -> Option<&'a str> {
        let owner = *self.0.get(index(plan, place)?)?;
        let number = usize::try_from(owner).ok()?.checked_sub(1)?;
        plan.repositories.get(number).map(|(name, _)| name.as_str())
    }
}

fn index(plan: &Plan, place: usize) -> Option<usize> {
    plan.loose.binary_search_by_key(&place, |(loose, _)| *loose).ok()
}
