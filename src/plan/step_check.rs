//! Checks that the steps of a plan fit together, before any of them is written.

use super::Step;
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
