//! Where a call stands, and what each end of a lease makes of it. Pure: time is an argument.
//!
//! ```text
//! Run ──finished──▶ CallBack ──delivered──▶ Done ──age──▶ forgotten
//!  │ └─(nobody wants the answer)──────────▶ forgotten
//!  └──given up──▶ (CallBack ──▶) Dead ──age──▶ forgotten;   Dead ──retry──▶ Run or CallBack
//! ```

use std::time::Duration;

use dhow_core::queue::{CallState, Note, Settle};

/// Which work is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// To be run.
    Run,
    /// Its answer is to be delivered.
    CallBack,
    /// Nothing; the answer is kept.
    Done,
    /// Nothing, unless somebody asks for it again: what then is in the field.
    Dead(Resume),
}

/// What a dead letter becomes when it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resume {
    /// The call is run.
    Run,
    /// It was run, and its answer could not be delivered.
    CallBack,
}

/// What is written of a call each time something happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) place: Place,
    /// Attempts that ended at this place, those that count.
    pub(super) attempts: u32,
    /// When it is due, milliseconds since 1970; for what is done or dead, when it is forgotten.
    pub(super) due_ms: u64,
    /// What the last attempt came to.
    pub(super) note: Option<Note>,
    /// Why the run was given up, while that is still to be told to a callback.
    pub(super) verdict: Option<Note>,
    /// Since when it waits, milliseconds since 1970, where that is not its acknowledgement: somebody
    /// asked for it again, or it is another work now.
    pub(super) since_ms: Option<u64>,
}

/// What was asked for with the call, and how long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) callback: bool,
    pub(super) keep_result: Duration,
    pub(super) created_ms: u64,
}

/// How long a call may stay where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ages {
    /// While attempts fail, until it is given up.
    pub(super) waiting: Duration,
    /// As a dead letter.
    pub(super) dead: Duration,
}

impl Wants {
    /// Whether somebody will want to see the answer.
    pub(super) fn answer(&self) -> bool {
        self.callback || !self.keep_result.is_zero()
    }
}

impl State {
    /// A call that was just taken.
    pub(super) fn new(now_ms: u64) -> Self {
        let (place, attempts) = (Place::Run, 0);
        Self { place, attempts, due_ms: now_ms, note: None, verdict: None, since_ms: None }
    }

    /// What others see.
    pub(super) fn shown(&self, is_leased: bool) -> CallState {
        match self.place {
            Place::Run if is_leased => CallState::Running,
            Place::Run => CallState::Waiting,
            Place::CallBack => CallState::Callback,
            Place::Done => CallState::Done,
            Place::Dead(_) => CallState::Dead,
        }
    }

    /// Whether something is left to be done.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.place, Place::Run | Place::CallBack)
    }

    /// What the end of a lease makes of it; `None` where nothing is left to be kept.
    pub(super) fn after(
        &self,
        settle: &Settle,
        wants: Wants,
        ages: Ages,
        now_ms: u64,
    ) -> Option<Self> {
        match settle {
            Settle::Finished(_) => self.finished(wants, ages, now_ms),
            Settle::Again { after, note, counted } => {
                let due_ms = now_ms.saturating_add(millis(*after));
                let since_ms = self.since_ms.unwrap_or(wants.created_ms);
                if due_ms > since_ms.saturating_add(millis(ages.waiting)) {
                    let expired = self.expired(note, ages.waiting);
                    return self.given_up(&expired, wants, ages, now_ms);
                }
                let attempts = self.attempts.saturating_add(u32::from(*counted));
                Some(Self { attempts, due_ms, note: Some(note.clone()), ..self.clone() })
            }
            Settle::Dead(note, _) => self.given_up(note, wants, ages, now_ms),
            Settle::Release => Some(Self { due_ms: now_ms, ..self.clone() }),
        }
    }

    /// What asking for it again makes of it; `None` where there is nothing to be done again.
    pub(super) fn again(&self, now_ms: u64) -> Option<Self> {
        let place = match self.place {
            Place::Run | Place::Dead(Resume::Run) => Place::Run,
            Place::CallBack | Place::Dead(Resume::CallBack) => Place::CallBack,
            Place::Done => return None,
        };
        let since_ms = Some(now_ms);
        Some(Self { place, attempts: 0, due_ms: now_ms, since_ms, ..self.clone() })
    }

    fn finished(&self, wants: Wants, ages: Ages, now_ms: u64) -> Option<Self> {
        match (self.place, &self.verdict) {
            (Place::Run, _) if wants.callback => Some(Self::call_back(None, now_ms)),
            // The callback was told of a call that was given up.
            (Place::CallBack, Some(verdict)) => {
                Some(Self::dead(Resume::Run, verdict.clone(), ages, now_ms))
            }
            _ if wants.keep_result > Duration::ZERO => {
                let due_ms = now_ms.saturating_add(millis(wants.keep_result));
                Some(Self { place: Place::Done, due_ms, ..Self::new(now_ms) })
            }
            _ => None,
        }
    }

    fn given_up(&self, note: &Note, wants: Wants, ages: Ages, now_ms: u64) -> Option<Self> {
        let state = match (self.place, &self.verdict) {
            (Place::Run, _) if wants.callback => Self::call_back(Some(note.clone()), now_ms),
            (Place::CallBack, Some(verdict)) => {
                Self::dead(Resume::Run, verdict.clone(), ages, now_ms)
            }
            (Place::CallBack, None) => Self::dead(Resume::CallBack, note.clone(), ages, now_ms),
            _ => Self::dead(Resume::Run, note.clone(), ages, now_ms),
        };
        Some(state)
    }

    /// A callback is to be told, of the answer or of the `verdict`.
    fn call_back(verdict: Option<Note>, now_ms: u64) -> Self {
        let since_ms = Some(now_ms);
        Self { place: Place::CallBack, verdict, since_ms, ..Self::new(now_ms) }
    }

    fn expired(&self, last: &Note, age: Duration) -> Note {
        let what = match self.place {
            Place::CallBack => "delivered",
            _ => "run",
        };
        let message =
            format!("it could not be {what} within {} s: {}", age.as_secs(), last.message);
        Note::new("expired", last.status, message)
    }

    fn dead(resume: Resume, note: Note, ages: Ages, now_ms: u64) -> Self {
        let due_ms = now_ms.saturating_add(millis(ages.dead));
        Self { place: Place::Dead(resume), due_ms, note: Some(note), ..Self::new(now_ms) }
    }
}

/// Milliseconds, for times that are compared.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGES: Ages = Ages { waiting: Duration::from_secs(1000), dead: Duration::from_secs(100) };
    const NOW: u64 = 1_000_000;

    fn wants(callback: bool, keep: u64) -> Wants {
        Wants { callback, keep_result: Duration::from_secs(keep), created_ms: NOW }
    }

    fn note(reason: &str) -> Note {
        Note::new(reason, 500, reason)
    }

    fn again(seconds: u64) -> Settle {
        Settle::Again { after: Duration::from_secs(seconds), note: note("status"), counted: true }
    }

    #[test]
    fn a_call_whose_answer_nobody_wants_is_forgotten_when_it_has_run() {
        let state = State::new(NOW);
        assert_eq!(state.after(&Settle::Finished(None), wants(false, 0), AGES, NOW), None);
        let kept = state.after(&Settle::Finished(None), wants(false, 5), AGES, NOW).unwrap();
        assert_eq!((kept.place, kept.due_ms), (Place::Done, NOW + 5000));
    }

    #[test]
    fn a_callback_is_a_place_of_its_own_and_its_failure_does_not_run_the_call_again() {
        let wants = wants(true, 0);
        let state = State::new(NOW).after(&Settle::Finished(None), wants, AGES, NOW).unwrap();
        assert_eq!((state.place, state.attempts), (Place::CallBack, 0));
        assert_eq!(state.after(&Settle::Finished(None), wants, AGES, NOW), None);
        let state = state.after(&again(1), wants, AGES, NOW).unwrap();
        assert_eq!((state.place, state.attempts), (Place::CallBack, 1));
        let dead = state.after(&Settle::Dead(note("x"), None), wants, AGES, NOW).unwrap();
        assert_eq!(dead.place, Place::Dead(Resume::CallBack));
        let again = dead.again(NOW).unwrap();
        assert_eq!((again.place, again.attempts), (Place::CallBack, 0));
    }

    #[test]
    fn a_call_that_is_given_up_is_told_to_its_callback_and_stays_a_dead_letter() {
        let wants = wants(true, 0);
        let told = State::new(NOW);
        let told = told.after(&Settle::Dead(note("trap"), None), wants, AGES, NOW).unwrap();
        assert_eq!(told.place, Place::CallBack);
        for end in [Settle::Finished(None), Settle::Dead(note("callback-failed"), None)] {
            let dead = told.after(&end, wants, AGES, NOW).unwrap();
            assert_eq!(dead.place, Place::Dead(Resume::Run));
            assert_eq!(dead.note, Some(note("trap")));
            assert_eq!(dead.again(NOW).unwrap().place, Place::Run);
        }
    }

    #[test]
    fn a_call_that_waits_for_too_long_is_given_up_by_name() {
        let late = NOW + 999_000;
        let state = State::new(NOW);
        let waits = state.after(&again(1), wants(false, 0), AGES, late).unwrap();
        assert_eq!(waits.place, Place::Run);
        let dead = state.after(&again(2), wants(false, 0), AGES, late).unwrap();
        assert_eq!(dead.place, Place::Dead(Resume::Run));
        assert_eq!(dead.note.as_ref().unwrap().reason, "expired");
        // Somebody asks for it again: it has all its time again.
        let much_later = late + 50_000;
        let state = dead.again(much_later).unwrap();
        let waits = state.after(&again(999), wants(false, 0), AGES, much_later).unwrap();
        assert_eq!(waits.place, Place::Run);
        let dead = waits.after(&again(1001), wants(false, 0), AGES, much_later).unwrap();
        assert_eq!(dead.note.unwrap().reason, "expired");
    }

    #[test]
    fn a_callback_has_its_own_time_however_long_the_call_waited() {
        let late = NOW + 999_000;
        let wants = wants(true, 0);
        let state = State::new(NOW).after(&Settle::Finished(None), wants, AGES, late).unwrap();
        let waits = state.after(&again(500), wants, AGES, late).unwrap();
        assert_eq!((waits.place, waits.attempts), (Place::CallBack, 1));
        let dead = waits.after(&again(1001), wants, AGES, late).unwrap();
        assert_eq!(dead.place, Place::Dead(Resume::CallBack));
        assert!(dead.note.unwrap().message.contains("delivered"));
    }

    fn settles() -> impl Strategy<Value = Settle> {
        prop_oneof![
            Just(Settle::Finished(None)),
            (0_u64..100, any::<bool>()).prop_map(|(after, counted)| Settle::Again {
                after: Duration::from_secs(after),
                note: note("status"),
                counted,
            }),
            Just(Settle::Dead(note("trap"), None)),
            Just(Settle::Release),
        ]
    }

    proptest! {
        /// Whatever happens: a call is forgotten only by an end that was a success; and who wants
        /// a callback gets one before the call is done, dead or forgotten.
        #[test]
        fn nothing_is_forgotten_that_was_not_done(
            steps in proptest::collection::vec(settles(), 0..40),
            callback: bool,
            keep in 0_u64..3,
        ) {
            let wants = wants(callback, keep);
            let mut state = State::new(NOW);
            let mut now = NOW;
            for step in steps {
                if !state.is_open() {
                    prop_assert!(state.due_ms >= now);
                    prop_assert_eq!(state.again(now).is_none(), state.place == Place::Done);
                    break;
                }
                now += 500;
                let was = state.place;
                match state.after(&step, wants, AGES, now) {
                    None => {
                        prop_assert!(matches!(step, Settle::Finished(_)), "{step:?}");
                        prop_assert_eq!(was == Place::CallBack, callback);
                        prop_assert_eq!(keep, 0);
                        break;
                    }
                    Some(next) => {
                        if was == Place::Run && callback {
                            prop_assert!(next.is_open());
                        }
                        if matches!(step, Settle::Release) {
                            prop_assert_eq!(next.attempts, state.attempts);
                            prop_assert_eq!(next.place, was);
                        }
                        state = next;
                    }
                }
            }
        }
    }
}
