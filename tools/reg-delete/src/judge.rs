//! Whether a plan may be acted on. Pure: the moment and the user's terms are given.
//!
//! A plan is judged as a whole and before anything is done; what it names is asked of the registry later (`survey`).

use chrono::{DateTime, TimeDelta, Utc};
use common::duration::Duration;
use common::record::Limit;

use crate::plan::{Plan, Section};

/// How far a clock may be ahead before something counts as written in the future.
pub(crate) const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// The flag that decides how long a plan is good for: a day with some air, so that a daily job never misses it by a minute.
pub(crate) const MAX_AGE: Duration = Duration::hours(26);

/// The same where a fresh inventory stands beside the plan: what came into use since is known then.
pub(crate) const MAX_AGE_WITH_INVENTORY: Duration = Duration::days(7);

/// What the user allows.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) max_age: Duration,
    /// Beside the limit that the plan itself has.
    pub(crate) max_delete: Option<Limit>,
    pub(crate) without_in_use: bool,
}

/// Why a plan is not acted on: a sentence with the way out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the plan's trailer says that it is not complete: take the plan again")]
    Incomplete,
    #[error(
        "the plan counts {said} use records and only {came} came: without them it is not known what must be asked for; take it again, and let a filter thin out nothing but manifests"
    )]
    Uses { said: u64, came: u64 },
    #[error("the plan counts {said} verdicts to {action} and {came} came: a plan may be thinned, not added to; take it again")]
    Added { action: &'static str, said: u64, came: u64 },
    #[error("the plan names no listing, so it is not known how old it is: take the plan again")]
    Ageless,
    #[error(
        "the plan was decided without an inventory of what is in use: give one to reg-select with --in-use FILE, or accept that with --without-in-use"
    )]
    Blind,
    #[error("{what} of the plan was written at {time}, more than 5 minutes in the future: set the clocks right and take the plan again")]
    Future { what: &'static str, time: DateTime<Utc> },
    #[error("the plan's oldest {what} was taken {age} ago, and --max-plan-age is {most}: take the plan again{}", if *most < MAX_AGE_WITH_INVENTORY { ", or give a fresh inventory with --in-use FILE, with which 7d are allowed" } else { "" })]
    Stale { what: &'static str, age: Duration, most: Duration },
    #[error(
        "the plan deletes {deletes} of {listed} manifests, and {whose} allows {limit}: nothing was deleted; look at the plan, and if it is right, {way_out}"
    )]
    Limit { deletes: u64, listed: u64, whose: &'static str, limit: Limit, way_out: &'static str },
}

/// Judges all sections: each must be whole, fresh and within its own limit, and together they must be within the user's.
///
/// # Errors
/// The first rule that does not hold.
pub(crate) fn judge(plan: &Plan, terms: &Terms, now: DateTime<Utc>) -> Result<(), Refusal> {
    for section in &plan.sections {
        is_whole(section)?;
        if !terms.without_in_use && !section.inputs.iter().any(|input| input.role == IN_USE) {
            return Err(Refusal::Blind);
        }
        is_of_now(section, terms, now)?;
    }
    // Counted by what was read, because a plan may be thinned; a manifest that two plans delete counts for each of them.
    let deletes = |section: &Section| section.came.deletes;
    for section in &plan.sections {
        let (deletes, listed) = (deletes(section), section.totals.listed);
        if let Some(limit) = section.limit
            && !limit.allows(deletes, listed)
        {
            let way_out = "let reg-select decide again with a higher --max-delete";
            return Err(Refusal::Limit { deletes, listed, whose: "its own --max-delete", limit, way_out });
        }
    }
    if let Some(limit) = terms.max_delete {
        let deletes = plan.sections.iter().map(deletes).sum();
        let listed = plan.sections.iter().map(|section| section.totals.listed).sum();
        if !limit.allows(deletes, listed) {
            return Err(Refusal::Limit { deletes, listed, whose: "--max-delete", limit, way_out: "raise --max-delete" });
        }
    }
    Ok(())
}

/// The role of an inventory that was decided on; one of `--also-in-use` may be old and is not trusted.
pub(crate) const IN_USE: &str = "in-use";

fn is_whole(section: &Section) -> Result<(), Refusal> {
    let (totals, came) = (&section.totals, section.came);
    if !section.complete {
        return Err(Refusal::Incomplete);
    }
    // Where nothing goes there is nothing to be too old for.
    if came.deletes + came.untags > 0 && totals.listings.is_empty() {
        return Err(Refusal::Ageless);
    }
    if came.uses < totals.uses {
        return Err(Refusal::Uses { said: totals.uses, came: came.uses });
    }
    for (action, said, came) in [("delete", totals.deletes, came.deletes), ("untag", totals.untags, came.untags)] {
        if came > said {
            return Err(Refusal::Added { action, said, came });
        }
    }
    Ok(())
}

fn is_of_now(section: &Section, terms: &Terms, now: DateTime<Utc>) -> Result<(), Refusal> {
    let listings = section.totals.listings.iter().map(|listing| ("listing", listing.time));
    let inventories = section.inputs.iter().filter(|input| input.role == IN_USE).map(|input| ("inventory", input.time));
    let header = std::iter::once(("header", section.written));
    // A plan decided for a later moment (`--now`) takes for old what is not old yet.
    let decided = section.now.map(|now| ("moment of decision", now));
    for (what, time) in listings.clone().chain(inventories.clone()).chain(header).chain(decided) {
        if time - now > CLOCK_SKEW {
            return Err(Refusal::Future { what, time });
        }
    }
    // When it was decided says nothing of how old is what it was decided on.
    let oldest = listings.chain(inventories).min_by_key(|(_, time)| *time);
    match oldest {
        Some((what, time)) if now - time > terms.max_age.delta() => {
            Err(Refusal::Stale { what, age: Duration::of(now - time), most: terms.max_age })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Came;
    use common::record::{Input, PlanListing, PlanTotals};

    fn noon() -> DateTime<Utc> {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    fn section() -> Section {
        let listing = PlanListing { tool: "reg-list".into(), time: noon(), scope: serde_json::Value::Null, complete: true };
        let input = Input { role: "in-use".into(), tool: "k8s-images".into(), time: noon(), scope: serde_json::Value::Null };
        Section {
            line: 1,
            written: noon(),
            now: Some(noon()),
            inputs: vec![input],
            limit: None,
            aliases: Vec::new(),
            strangers: Vec::new(),
            complete: true,
            totals: PlanTotals { listings: vec![listing], listed: 10, deletes: 4, untags: 1, uses: 2, frozen: 0 },
            came: Came { deletes: 4, untags: 1, uses: 2 },
        }
    }

    fn terms() -> Terms {
        Terms { max_age: MAX_AGE, max_delete: None, without_in_use: false }
    }

    fn judged(sections: Vec<Section>, terms: &Terms, now: DateTime<Utc>) -> Result<(), Refusal> {
        judge(&Plan { sections, ..Plan::default() }, terms, now)
    }

    /// A section that differs from the good one in one thing.
    fn but(change: impl FnOnce(&mut Section)) -> Section {
        let mut section = section();
        change(&mut section);
        section
    }

    #[test]
    fn a_fresh_whole_plan_is_acted_on() {
        assert_eq!(judged(vec![section()], &terms(), noon()), Ok(()));
        assert_eq!(judged(vec![section(), section()], &terms(), noon() + TimeDelta::hours(26)), Ok(()));
        assert_eq!(judged(vec![section()], &terms(), noon() - TimeDelta::minutes(5)), Ok(()));
        let thinned = but(|section| section.came = Came { deletes: 1, untags: 0, uses: 2 });
        assert_eq!(judged(vec![thinned], &terms(), noon()), Ok(()), "fewer verdicts only delete less");
        let empty = but(|section| {
            section.totals.listings.clear();
            section.came = Came { deletes: 0, untags: 0, uses: 2 };
        });
        assert_eq!(judged(vec![empty], &terms(), noon()), Ok(()), "what deletes nothing may be of any age");
        let frozen = but(|section| section.totals.listings[0].complete = false);
        assert_eq!(judged(vec![frozen], &terms(), noon()), Ok(()), "a catalog that broke off freezes nothing that was listed");
    }

    #[test]
    fn one_bad_section_refuses_all() {
        let minutes = |minutes| noon() + TimeDelta::minutes(minutes);
        for (name, bad, sentence) in [
            ("incomplete", but(|section| section.complete = false), "is not complete"),
            ("uses", but(|section| section.came.uses = 1), "counts 2 use records and only 1 came"),
            ("no listing", but(|section| section.totals.listings.clear()), "names no listing"),
            (
                "no listing, untags alone",
                but(|section| {
                    section.totals.listings.clear();
                    section.came.deletes = 0;
                }),
                "names no listing",
            ),
            ("added", but(|section| section.came.deletes = 5), "counts 4 verdicts to delete and 5 came"),
            ("added", but(|section| section.came.untags = 2), "counts 1 verdicts to untag and 2 came"),
            ("blind", but(|section| section.inputs.clear()), "--without-in-use"),
            ("blind", but(|section| section.inputs[0].role = "also-in-use".into()), "--without-in-use"),
            ("future listing", but(|section| section.totals.listings[0].time = minutes(6)), "listing of the plan was written at"),
            ("future inventory", but(|section| section.inputs[0].time = minutes(6)), "in the future"),
            ("future header", but(|section| section.written = minutes(6)), "in the future"),
            ("future decision", but(|section| section.now = Some(minutes(6))), "moment of decision"),
            (
                "old listing",
                but(|section| section.totals.listings[0].time = minutes(-26 * 60 - 1)),
                "oldest listing was taken 1d2h1min ago",
            ),
            ("old inventory", but(|section| section.inputs[0].time = minutes(-26 * 60 - 1)), "--max-plan-age is 1d2h"),
            (
                "its own limit",
                but(|section| section.limit = Some("39%".parse().unwrap())),
                "deletes 4 of 10 manifests, and its own --max-delete allows 39%",
            ),
        ] {
            let error = judged(vec![section(), bad], &terms(), noon()).expect_err(name).to_string();
            assert!(error.contains(sentence), "{name}: {error}");
        }
    }

    #[test]
    fn flags_are_the_way_out() {
        let blind = but(|section| section.inputs.clear());
        assert_eq!(judged(vec![blind], &Terms { without_in_use: true, ..terms() }, noon()), Ok(()));
        let old = noon() + TimeDelta::days(7);
        assert!(judged(vec![section()], &terms(), old).is_err());
        assert_eq!(judged(vec![section()], &Terms { max_age: MAX_AGE_WITH_INVENTORY, ..terms() }, old), Ok(()));
    }

    #[test]
    fn the_users_limit_counts_all_plans_together() {
        let limited = |limit: &str| Terms { max_delete: Some(limit.parse().unwrap()), ..terms() };
        let both = || vec![section(), section()];
        assert_eq!(judged(both(), &limited("8"), noon()), Ok(()));
        assert!(judged(both(), &limited("7"), noon()).is_err());
        assert_eq!(judged(both(), &limited("40%"), noon()), Ok(()));
        assert!(judged(both(), &limited("39%"), noon()).is_err());
        let strict = but(|section| section.limit = Some("3".parse().unwrap()));
        assert!(judged(vec![strict], &limited("100%"), noon()).is_err(), "the plan's own limit stands beside the user's");
    }
}
