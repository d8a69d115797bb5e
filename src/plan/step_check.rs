//! Checks that the steps of a plan fit together, before any of them is written.

use super::{Step, TokenWait};
use crate::diagnostic::InternalError;
use crate::state::write::{Precondition, WriteRequest};

/// Checks that every step has a precondition that fits its write. A patch or a deletion without the version of its
/// object would be made whatever the object is by then.
///
/// # Errors
/// The first step that does not fit. Only a bug in the order of the writes, or an edited plan file, has one.
pub(crate) fn check_steps(steps: &[Step]) -> Result<(), InternalError> {
    for (index, step) in steps.iter().enumerate() {
        let why = match (&step.write, &step.precondition) {
            (WriteRequest::Create(_), Precondition::Absent)
            | (WriteRequest::Patch(_) | WriteRequest::Delete, Precondition::Unchanged { .. }) => continue,
            (WriteRequest::Patch(_) | WriteRequest::Delete, Precondition::AsWrittenByStep { step: earlier }) => {
                match steps.get(*earlier).filter(|_| *earlier < index) {
                    None => format!("relies on step {earlier}, which is not an earlier step"),
                    Some(earlier) if earlier.object != step.object => {
                        format!("relies on a step that writes {}", earlier.object)
                    }
                    Some(earlier) if earlier.write == WriteRequest::Delete => {
                        "relies on a step that deletes the object".to_owned()
                    }
                    Some(earlier) if earlier.stage >= step.stage => {
                        "relies on a step that is not in an earlier stage".to_owned()
                    }
                    Some(_) => continue,
                }
            }
            (WriteRequest::Patch(_) | WriteRequest::Delete, Precondition::Absent)
            | (WriteRequest::Create(_), Precondition::Unchanged { .. } | Precondition::AsWrittenByStep { .. }) => {
                "has a precondition that does not fit its write".to_owned()
            }
        };
        return Err(InternalError::new(format!("step {index} ({} {}) {why}", step.write.verb(), step.object)));
    }
    Ok(())
}

/// Checks that every wait is in a stage of its own, directly before its step.
///
/// # Errors
/// The first wait that is not. `apply` would not make it, or not in time.
pub(crate) fn check_waits(waits: &[TokenWait], steps: &[Step]) -> Result<(), InternalError> {
    for wait in waits {
        let is_before = |step: &Step| step.stage > wait.stage;
        let next = steps.get(wait.before_step).filter(|step| is_before(step));
        let (earlier, later) = steps.split_at_checked(wait.before_step).unwrap_or((steps, &[]));
        if next.is_none() || earlier.iter().any(|step| step.stage >= wait.stage) || !later.iter().all(is_before) {
            return Err(InternalError::new(format!("{wait} is not between two stages of steps")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::names::ObjectKey;

    fn step(name: &str, write: WriteRequest, precondition: Precondition, stage: usize) -> Step {
        let object = ObjectKey::cluster_role(name);
        Step { object, write, precondition, stage, wait_for: Vec::new(), description: String::new() }
    }

    #[test]
    fn wait_that_is_not_between_two_stages_is_an_internal_error() {
        let create =
            |name: &str, stage: usize| step(name, WriteRequest::Create(json!({})), Precondition::Absent, stage);
        let steps = [create("a", 0), create("b", 0), create("c", 2), create("d", 2)];
        let wait = |stage: usize, before_step: usize| TokenWait {
            stage,
            before_step,
            duration: std::time::Duration::from_secs(130),
            subjects: Vec::new(),
            is_for_access_entries: false,
        };
        assert_eq!(check_waits(&[wait(1, 2)], &steps), Ok(()));
        for wrong in [wait(0, 2), wait(1, 1), wait(1, 3), wait(2, 2), wait(3, 4), wait(1, 9)] {
            let error = check_waits(std::slice::from_ref(&wrong), &steps).unwrap_err().to_string();
            assert_eq!(error, "internal error: wait 2m10s for cached tokens is not between two stages of steps");
        }
    }

    #[test]
    fn step_that_relies_on_no_earlier_step_is_an_internal_error() {
        let patch = || WriteRequest::Patch(json!({}));
        let create = |name: &str| step(name, WriteRequest::Create(json!({})), Precondition::Absent, 0);
        let by_step = |number: usize| Precondition::AsWrittenByStep { step: number };
        let good = [create("a"), step("a", patch(), by_step(0), 1), step("a", WriteRequest::Delete, by_step(1), 2)];
        assert_eq!(check_steps(&good), Ok(()));
        for (second, message) in [
            (step("a", patch(), by_step(7), 1), "step 1 (patch ClusterRole a) relies on step 7"),
            (step("a", patch(), by_step(1), 1), "relies on step 1, which is not an earlier step"),
            (step("b", patch(), by_step(0), 1), "relies on a step that writes ClusterRole a"),
            (step("a", patch(), by_step(0), 0), "not in an earlier stage"),
            (step("a", patch(), Precondition::Absent, 1), "has a precondition that does not fit its write"),
            (step("a", WriteRequest::Delete, Precondition::Absent, 1), "(delete ClusterRole a) has a precondition"),
            (step("a", WriteRequest::Create(json!({})), by_step(0), 1), "has a precondition that does not fit"),
        ] {
            let error = check_steps(&[create("a"), second]).unwrap_err().to_string();
            assert!(error.starts_with("internal error: step 1") && error.contains(message), "{error}");
        }
    }
}
