//! Several devices as one: replicas of a network, a thread each, that meet where pictures of the whole batch count.
//!
//! Tensors of one replica may enter another's: gradients flow back through them, since all threads build one graph.
//! So a normalisation over the batch is over all replicas' pictures, and the loss of everybody's projections is that
//! of one device with the whole batch, but for the order of additions.

use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tch::Tensor;

use crate::{Error, Result};

thread_local! {
    /// The replica that this thread works for.
    static MEMBER: RefCell<Option<Member>> = const { RefCell::new(None) };
}

/// Work of one replica.
pub type Work<'a, T, E> = Box<dyn FnOnce() -> Result<T, E> + Send + 'a>;

/// One of several replicas.
#[derive(Clone)]
pub(crate) struct Member {
    group: Arc<Group>,
    number: usize,
}

struct Group {
    state: Mutex<State>,
    changed: Condvar,
}

/// One meeting: everybody brings a tensor, then everybody takes all of them.
struct State {
    brought: Vec<Option<Tensor>>,
    /// How many have taken.
    taken: usize,
    /// The first replica that failed: nobody waits for the others any more.
    failed: Option<usize>,
}

impl State {
    fn is_complete(&self) -> bool {
        self.brought.iter().all(Option::is_some)
    }
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until it is ready, or somebody has failed.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        ready: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'a, State>> {
        while !ready(&state) && state.failed.is_none() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match state.failed {
            Some(_) => Err(Error::Replica),
            None => Ok(state),
        }
    }

    fn fail(&self, number: usize) {
        self.lock().failed.get_or_insert(number);
        self.changed.notify_all();
    }
}

/// Does each replica's work, that of the first on this thread and of each other one on a thread of its own, and
/// returns what they return, in their order. All must run the same network in the same order.
///
/// # Errors
/// That of the first replica that failed.
pub fn together<T: Send, E: From<Error> + Send>(
    first: impl FnOnce() -> Result<T, E>,
    others: Vec<Work<T, E>>,
) -> Result<Vec<T>, E> {
    if others.is_empty() {
        return Ok(vec![first()?]);
    }
    let brought = (0..=others.len()).map(|_| None).collect();
    let state = Mutex::new(State { brought, taken: 0, failed: None });
    let group = Arc::new(Group { state, changed: Condvar::new() });
    let member = |number| Member { group: group.clone(), number };
    let mut results: Vec<Result<T, E>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..)
            .zip(others)
            .map(|(number, work)| {
                let member = member(number);
                scope.spawn(move || member.run(work))
            })
            .collect();
        let own = member(0).run(first);
        let others = others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(Error::Replica.into())));
        std::iter::once(own).chain(others).collect()
    });
    match group.lock().failed {
        Some(number) => {
            results.swap_remove(number)?;
            Err(Error::Replica.into())
        }
        None => results.into_iter().collect(),
    }
}

/// The replica that this thread works for; `None` where there is one device.
pub(crate) fn member() -> Option<Member> {
    MEMBER.with_borrow(Clone::clone)
}

impl Member {
    fn run<T, E>(self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        /// Whatever happens, nobody waits for a replica that is gone.
        struct Leave(Option<Member>);
        impl Drop for Leave {
            fn drop(&mut self) {
                MEMBER.set(None);
                if let Some(member) = &self.0 {
                    member.group.fail(member.number);
                }
            }
        }
        MEMBER.set(Some(self.clone()));
        let mut leave = Leave(Some(self));
        let done = work();
        if done.is_ok() {
            leave.0 = None;
        }
        done
    }

    /// Every replica's tensor, in the order of the replicas, on the device of this one's.
    ///
    /// # Errors
    /// [`Error::Replica`] when another one has failed.
    pub(crate) fn gather(&self, tensor: &Tensor) -> Result<Vec<Tensor>> {
        let Group { changed, .. } = &*self.group;
        // Those who are slow may still be taking what was brought last time.
        let mut state =
            self.group.wait(self.group.lock(), |state| state.brought[self.number].is_none())?;
        state.brought[self.number] = Some(tensor.shallow_clone());
        changed.notify_all();
        let mut state = self.group.wait(state, State::is_complete)?;
        let all: Vec<Tensor> = state.brought.iter().flatten().map(Tensor::shallow_clone).collect();
        state.taken += 1;
        if state.taken == all.len() {
            state.taken = 0;
            state.brought.fill_with(|| None);
            changed.notify_all();
        }
        drop(state);
        all.iter().map(|part| Ok(part.f_to_device(tensor.device())?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn everybody_gets_everything_in_order_round_after_round() {
        let sums = |number: i64| -> Result<Vec<i64>> {
            let rounds = (0..200).map(|round| {
                let all = member().unwrap().gather(&Tensor::from(10 * round + number))?;
                Ok(all.iter().enumerate().map(|(i, t)| (i as i64 + 1) * t.int64_value(&[])).sum())
            });
            rounds.collect()
        };
        let others = [1, 2].map(|number| Box::new(move || sums(number)) as Work<'_, _, Error>);
        let found = together(|| sums(0), others.into()).unwrap();
        let expected: Vec<i64> = (0..200).map(|round| 60 * round + 8).collect();
        assert_eq!(found, [expected.clone(), expected.clone(), expected]);
        assert!(member().is_none());
    }

    #[test]
    fn gradients_flow_back_to_whoever_brought_a_tensor() {
        let leaves = [2.0, 3.0].map(|value| Tensor::from(value).set_requires_grad(true));
        // Each replica's loss is its own number times the sum of all: (a + b)² together.
        let loss = |own: Tensor| -> Result<Tensor> {
            let all = member().unwrap().gather(&own)?;
            Ok(Tensor::f_stack(&all, 0)?.f_sum(Kind::Double)?.f_mul(&own)?)
        };
        let second = leaves[1].shallow_clone();
        let other: Work<'_, Tensor, Error> = Box::new(move || loss(second));
        let losses = together(|| loss(leaves[0].shallow_clone()), vec![other]).unwrap();
        (&losses[0] + &losses[1]).backward();
        for leaf in &leaves {
            assert!((leaf.grad().double_value(&[]) - 10.0).abs() < 1e-12);
        }
    }

    #[test]
    fn nobody_waits_for_a_replica_that_failed() {
        let zero = || Tensor::zeros([1], (Kind::Float, Device::Cpu));
        let bad: Work<'_, Vec<Tensor>, Error> =
            Box::new(|| Err(Error::Weights { path: "w".into(), detail: "why".into() }));
        let found = together(|| member().unwrap().gather(&zero()), vec![bad]);
        assert!(matches!(found, Err(Error::Weights { .. })));
    }
}
