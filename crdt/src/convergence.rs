//! Stores that exchange messages become equal: tests of `sync`, `merge` and `document` together.

use std::collections::VecDeque;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::limits::DIGEST_PAGE_DOCUMENTS;
use crate::testing::{DATABASE, Member, Members, fields, read, store};
use crate::{ChangeBatch, Edit, Entry, Error, Store, SyncMessage};

/// Stores whose messages travel as bytes and wait until they are delivered.
struct Network {
    stores: Vec<(Store, Member)>,
    members: Members,
    /// From, to, and what.
    waiting: VecDeque<(usize, usize, Vec<u8>)>,
    carried_bytes: usize,
}

impl Network {
    fn new(count: usize) -> Self {
        let stores = (1..=count as u8).map(|number| (store(), Member::new(number))).collect();
        Self { stores, members: Members::new(3), waiting: VecDeque::new(), carried_bytes: 0 }
    }

    fn write(&mut self, node: usize, document: &str, edit: &Edit) -> Option<ChangeBatch> {
        let (store, member) = &mut self.stores[node];
        match store.write(DATABASE, document, edit, member.origin()) {
            Ok(written) => written.batch,
            Err(Error::NotFound { .. } | Error::AlreadyExists { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn send(&mut self, from: usize, to: usize, message: &SyncMessage) {
        self.waiting.push_back((from, to, message.to_bytes()));
    }

    fn push(&mut self, from: usize, batch: ChangeBatch) {
        let message = SyncMessage::push(batch);
        (0..self.stores.len()).filter(|to| *to != from).for_each(|to| self.send(from, to, &message));
    }

    fn start(&mut self, from: usize, to: usize) {
        let summary = self.stores[from].0.summary(DATABASE).unwrap();
        self.send(from, to, &summary);
    }

    fn deliver(&mut self, index: usize, keep: bool) {
        let index = index % self.waiting.len().max(1);
        let Some((from, to, bytes)) = self.waiting.get(index).cloned() else { return };
        if !keep {
            self.waiting.remove(index);
        }
        self.carried_bytes += bytes.len();
        let message = SyncMessage::from_bytes(&bytes).unwrap();
        let received = self.stores[to].0.receive(message, &self.members).unwrap();
        for error in &received.merged.refused {
            assert!(matches!(error, Error::MissingDependencies { .. }), "{error}");
        }
        received.replies.iter().for_each(|reply| self.send(to, from, reply));
    }

    fn settle(&mut self) {
        for _ in 0..100_000 {
            if self.waiting.is_empty() {
                return;
            }
            self.deliver(0, false);
        }
        panic!("the stores do not stop talking");
    }

    /// Each store starts one exchange with the next, there and back, so that all have everything.
    fn exchange(&mut self) {
        let last = self.stores.len() - 1;
        for node in (0..last).chain((0..last).rev()) {
            self.start(node, node + 1);
            self.settle();
        }
    }

    fn state(&self, node: usize) -> (SyncMessage, SyncMessage, Vec<Entry>) {
        let store = &self.stores[node].0;
        let list = store.list(DATABASE, None, usize::MAX).unwrap();
        (store.summary(DATABASE).unwrap(), store.digest(DATABASE, None).unwrap(), list)
    }
}

fn create(value: Value) -> Edit {
    Edit::Create(fields(value))
}

#[test]
fn one_exchange_makes_two_stores_equal_in_both_directions() {
    let mut network = Network::new(2);
    let count = 2 * DIGEST_PAGE_DOCUMENTS + 10;
    for number in 0..count {
        network.write(number % 2, &format!("device{number}"), &create(json!({ "number": number })));
    }
    network.start(0, 1);
    network.settle();
    assert_eq!(network.state(0), network.state(1));
    assert_eq!(network.stores[0].0.changes(DATABASE, count as u64 - 1, 9).unwrap().len(), 1);

    network.carried_bytes = 0;
    network.start(0, 1);
    network.settle();
    assert!(network.carried_bytes < 64, "{} bytes between equal stores", network.carried_bytes);
}

#[test]
fn an_empty_store_gets_everything_whoever_begins() {
    for starter in [0, 1] {
        let mut network = Network::new(2);
        for number in 0..DIGEST_PAGE_DOCUMENTS + 10 {
            network.write(0, &format!("device{number}"), &create(json!({})));
        }
        network.start(starter, 1 - starter);
        network.settle();
        assert_eq!(network.state(0), network.state(1));
    }
}

#[test]
fn diverged_histories_send_little_more_than_the_difference() {
    let mut network = Network::new(2);
    network.write(0, "flow", &create(json!({"a": 0, "b": 0})));
    for number in 0..200 {
        network.write(0, "flow", &Edit::Patch(fields(json!({ "a": number }))));
    }
    network.exchange();
    network.write(0, "flow", &Edit::Patch(fields(json!({"a": "here"}))));
    for number in 0..3 {
        network.write(1, "flow", &Edit::Patch(fields(json!({ "b": number }))));
    }
    network.carried_bytes = 0;
    network.exchange();
    assert_eq!(network.state(0), network.state(1));
    assert_eq!(read(&network.stores[0].0, "flow"), json!({"a": "here", "b": 2}));
    assert!(network.carried_bytes < 6000, "{} bytes for 4 changes", network.carried_bytes);
}

#[test]
fn a_long_history_comes_in_pages() {
    let mut network = Network::new(2);
    let text = |number: usize| json!({ "text": number.to_string().repeat(20_000) });
    network.write(0, "flow", &create(text(0)));
    for number in 1..60 {
        network.write(0, "flow", &Edit::Replace(fields(text(number))));
    }
    let (mut batches, mut pages, mut next) = (Vec::new(), 0, Some(0));
    while let Some(from) = next {
        assert!(pages < 60, "the pages do not end");
        let page = network.stores[0].0.batches_for(DATABASE, "flow", &[], from).unwrap();
        batches.extend(page.batches);
        (pages, next) = (pages + 1, page.next);
    }
    assert!(pages > 1 && batches.len() == 60, "{} batches in {pages} pages", batches.len());
    network.exchange();
    assert_eq!(network.state(0), network.state(1));
    assert_eq!(read(&network.stores[1].0, "flow"), text(59));
}

#[test]
fn a_push_that_overtook_another_is_made_good() {
    let mut network = Network::new(2);
    network.write(0, "device", &create(json!({"n": 1})));
    let batch = network.write(0, "device", &Edit::Patch(fields(json!({"n": 2})))).unwrap();
    network.push(0, batch);
    network.settle();
    assert_eq!(read(&network.stores[1].0, "device"), json!({"n": 2}));
}

#[test]
fn what_a_store_refuses_is_not_asked_for_again() {
    let mut network = Network::new(2);
    network.stores[0].1 = Member::new(9);
    for number in 0..3 {
        network.write(0, "device", &create(json!({})));
        network.write(0, "device", &Edit::Patch(fields(json!({ "n": number }))));
    }
    let page = network.stores[0].0.batches_for(DATABASE, "device", &[], 0).unwrap();
    let (store, members) = (&mut network.stores[1].0, &network.members);
    let message = SyncMessage::Batches { batches: page.batches, next: Some(7) };
    let received = store.receive(message, members).unwrap();
    assert_eq!((received.replies.len(), received.merged.refused.len()), (0, 4));
    assert!(store.list(DATABASE, None, 9).unwrap().is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Write { node: usize, document: u8, edit: Edit, push: bool },
    Start { from: usize, distance: usize },
    Deliver { index: usize, keep: bool },
}

fn any_fields() -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
        proptest::collection::vec(any::<u8>(), 0..3).prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(2, 8, 3, |inner| {
        proptest::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| json!(map))
    });
    proptest::collection::btree_map("[a-c]", value, 0..4).prop_map(|map| map.into_iter().collect())
}

fn any_step() -> impl Strategy<Value = Step> {
    let edit = prop_oneof![
        2 => any_fields().prop_map(Edit::Create),
        1 => any_fields().prop_map(Edit::Replace),
        4 => any_fields().prop_map(Edit::Patch),
        1 => Just(Edit::Delete),
    ];
    prop_oneof![
        3 => (0..3_usize, 0..3_u8, edit, any::<bool>())
            .prop_map(|(node, document, edit, push)| Step::Write { node, document, edit, push }),
        1 => (0..3_usize, 1..3_usize).prop_map(|(from, distance)| Step::Start { from, distance }),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(index, keep)| Step::Deliver { index, keep }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn stores_converge_whatever_was_written_and_however_it_travelled(
        count in 2..=3_usize,
        steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let mut network = Network::new(count);
        for step in steps {
            match step {
                Step::Write { node, document, edit, push } => {
                    let node = node % count;
                    let batch = network.write(node, &format!("device{document}"), &edit);
                    if let Some(batch) = batch.filter(|_| push) {
                        network.push(node, batch);
                    }
                }
                Step::Start { from, distance } => {
                    let (from, to) = (from % count, (from + distance) % count);
                    if from != to {
                        network.start(from, to);
                    }
                }
                Step::Deliver { index, keep } => network.deliver(index, keep),
            }
        }
        network.settle();
        network.exchange();
        for node in 1..count {
            prop_assert_eq!(network.state(0), network.state(node));
        }
    }
}
