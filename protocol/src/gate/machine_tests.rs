use super::*;

const US: NodeId = NodeId::from_bytes([1; 16]);
const OTHER: NodeId = NodeId::from_bytes([2; 16]);

/// A cluster that says what a test wants.
#[derive(Clone, Copy)]
struct Says {
    intent: Intent,
    standing: Standing,
    goes_first: bool,
    has_successor: bool,
}

const ALONE: Says =
    Says { intent: Intent::Serve, standing: Standing::Dead, goes_first: true, has_successor: false };

impl Cluster for Says {
    fn intent(&self) -> Intent {
        self.intent
    }
    fn standing(&self, _: NodeId) -> Standing {
        self.standing
    }
    fn goes_first(&self) -> bool {
        self.goes_first
    }
    fn has_successor(&self) -> bool {
        self.has_successor
    }
}

fn read(holder: Holder) -> Input {
    Input::Reply(Reply::Read(holder))
}

fn held(holder: NodeId) -> GateMessage {
    GateMessage::Held { holder }
}

/// A gate that was read at time 0 and found to be ours.
fn attached() -> Gate {
    let mut gate = Gate::new(US, 0, 100);
    assert_eq!(gate.handle(0, &ALONE, Input::Timer), [Effect::Read]);
    assert_eq!(gate.handle(1, &ALONE, read(Holder::Us)), [Effect::Say(held(US)), Effect::Attach]);
    gate
}

/// A gate that has asked OTHER at time 1, and its question.
fn asking() -> (Gate, GateMessage) {
    let mut gate = Gate::new(US, 0, 100);
    gate.handle(0, &ALONE, Input::Timer);
    let question = GateMessage::Question { holder: OTHER, nonce: 101 };
    assert_eq!(gate.handle(1, &ALONE, read(Holder::Other(OTHER))), [Effect::Ask(question)]);
    assert_eq!(gate.handle(2, &ALONE, Input::Reply(Reply::Asked)), []);
    (gate, question)
}

#[test]
fn a_free_gate_is_taken_by_the_first_at_once_and_by_others_later() {
    let mut gate = Gate::new(US, 0, 0);
    gate.handle(0, &ALONE, Input::Timer);
    assert_eq!(gate.handle(1, &ALONE, read(Holder::Nobody)), [Effect::Take]);
    let taken = [Effect::Taken(None), Effect::Say(held(US)), Effect::Attach];
    assert_eq!(gate.handle(2, &ALONE, Input::Reply(Reply::Took(true))), taken);
    assert_eq!(gate.may_command_until_ms(), Some(1 + GATE_UNREAD_MS), "from when the command was sent");

    let second = Says { goes_first: false, ..ALONE };
    let mut gate = Gate::new(US, 0, 0);
    let mut now_ms = 0;
    loop {
        assert_eq!(gate.handle(now_ms, &second, Input::Timer), [Effect::Read]);
        let effects = gate.handle(now_ms, &second, read(Holder::Nobody));
        if effects == [Effect::Take] {
            break;
        }
        assert_eq!(effects, []);
        now_ms = gate.timer_ms().unwrap();
    }
    assert_eq!(now_ms, GATE_PATIENCE_MS);
}

#[test]
fn a_dead_holder_is_usurped_after_it_was_asked_in_vain() {
    let (mut gate, question) = asking();
    assert_eq!(gate.handle(10, &ALONE, Input::Heard(question)), []);
    let silent_ms = 10 + GATE_ANSWER_MS;
    assert_eq!(gate.timer_ms(), Some(silent_ms));
    assert_eq!(gate.handle(silent_ms - 1, &ALONE, Input::Timer), []);
    assert_eq!(gate.handle(silent_ms, &ALONE, Input::Timer), [Effect::Read]);
    let free = [Effect::Free(OTHER)];
    assert_eq!(gate.handle(silent_ms + 1, &ALONE, read(Holder::Other(OTHER))), free);
    assert_eq!(gate.handle(silent_ms + 2, &ALONE, Input::Reply(Reply::Freed(true))), [Effect::Take]);
    let taken = [Effect::Taken(Some(OTHER)), Effect::Say(held(US)), Effect::Attach];
    assert_eq!(gate.handle(silent_ms + 3, &ALONE, Input::Reply(Reply::Took(true))), taken);
}

#[test]
fn a_holder_that_answers_or_returns_is_left_alone_and_asked_again_later() {
    for message in [GateMessage::Answer { holder: OTHER, nonce: 101 }, held(OTHER)] {
        let (mut gate, question) = asking();
        gate.handle(10, &ALONE, Input::Heard(question));
        assert_eq!(gate.handle(500, &ALONE, Input::Heard(message)), [Effect::Believe(OTHER)]);
        assert_eq!(gate.handle(501, &ALONE, Input::ClusterChanged), [], "not at every change");
        let next_ms = gate.timer_ms().unwrap();
        assert_eq!(next_ms, 500 + GATE_CHECK_MS);
        assert_eq!(gate.handle(next_ms, &ALONE, Input::Timer), [Effect::Read]);
        let again = Effect::Ask(GateMessage::Question { holder: OTHER, nonce: 102 });
        assert_eq!(gate.handle(next_ms, &ALONE, read(Holder::Other(OTHER))), [again]);
    }
}

#[test]
fn an_answer_that_comes_with_the_last_reading_counts() {
    let (mut gate, question) = asking();
    gate.handle(10, &ALONE, Input::Heard(question));
    let silent_ms = 10 + GATE_ANSWER_MS;
    assert_eq!(gate.handle(silent_ms, &ALONE, Input::Timer), [Effect::Read]);
    let answer = GateMessage::Answer { holder: OTHER, nonce: 101 };
    assert_eq!(gate.handle(silent_ms + 1, &ALONE, Input::Heard(answer)), [Effect::Believe(OTHER)]);
    assert_eq!(gate.handle(silent_ms + 1, &ALONE, read(Holder::Other(OTHER))), []);
}

#[test]
fn other_answers_count_for_nothing() {
    let (mut gate, question) = asking();
    gate.handle(10, &ALONE, Input::Heard(question));
    for (holder, nonce) in [(OTHER, 100), (US, 101), (NodeId::from_bytes([3; 16]), 101)] {
        assert_eq!(gate.handle(11, &ALONE, Input::Heard(GateMessage::Answer { holder, nonce })), []);
    }
    assert_eq!(gate.handle(10 + GATE_ANSWER_MS, &ALONE, Input::Timer), [Effect::Read]);
}

#[test]
fn who_does_not_hear_its_own_question_usurps_nobody() {
    let (mut gate, _) = asking();
    let given_up_ms = gate.timer_ms().unwrap();
    assert_eq!(given_up_ms, 1 + GATE_ECHO_MS);
    assert_eq!(gate.handle(given_up_ms, &ALONE, Input::Timer), []);
    assert_eq!(gate.timer_ms(), Some(given_up_ms + GATE_CHECK_MS), "it begins anew");
}

#[test]
fn who_stood_still_over_the_last_reading_asks_anew() {
    let (mut gate, question) = asking();
    gate.handle(10, &ALONE, Input::Heard(question));
    gate.handle(2_000, &ALONE, Input::Timer);
    let again = Effect::Ask(GateMessage::Question { holder: OTHER, nonce: 102 });
    assert_eq!(gate.handle(2_001 + GATE_ANSWER_MS, &ALONE, read(Holder::Other(OTHER))), [again]);
}

#[test]
fn a_holder_that_lives_is_not_even_asked_and_one_that_nobody_knows_only_later() {
    let mut gate = Gate::new(US, 0, 0);
    let alive = Says { standing: Standing::Alive, ..ALONE };
    gate.handle(0, &alive, Input::Timer);
    assert_eq!(gate.handle(1, &alive, read(Holder::Other(OTHER))), []);
    assert_eq!(gate.handle(2, &alive, Input::ClusterChanged), []);
    assert_eq!(gate.timer_ms(), Some(1 + GATE_CHECK_MS));
    assert_eq!(gate.handle(3, &ALONE, Input::ClusterChanged), [Effect::Read], "it has died");

    for (standing, patience_ms) in
        [(Standing::Unknown, GATE_PATIENCE_MS), (Standing::OutOfReach, GATE_CHECK_MS)]
    {
        let says = Says { standing, ..ALONE };
        let mut gate = Gate::new(US, 0, 0);
        let mut now_ms = 0;
        while gate.handle(now_ms, &says, Input::Timer) == [Effect::Read]
            && gate.handle(now_ms, &says, read(Holder::Other(OTHER))).is_empty()
        {
            now_ms = gate.timer_ms().unwrap();
        }
        assert_eq!(now_ms, patience_ms);
    }
}

#[test]
fn a_notice_makes_the_holder_read_and_only_the_reading_makes_it_stop() {
    let mut gate = attached();
    assert_eq!(gate.handle(5, &ALONE, Input::Heard(held(US))), [], "its own");
    assert_eq!(gate.handle(5, &ALONE, Input::Heard(held(OTHER))), [Effect::Read]);
    assert_eq!(gate.handle(6, &ALONE, Input::Heard(held(OTHER))), [], "one reading at a time");
    assert_eq!(
        gate.handle(7, &ALONE, read(Holder::Us)),
        [Effect::Read],
        "the first was sent before the second"
    );
    let alive = Says { standing: Standing::Alive, ..ALONE };
    let lost = Holder::Other(OTHER);
    assert_eq!(gate.handle(8, &alive, read(lost)), [Effect::Detach(Why::Lost(lost))]);
    assert_eq!(gate.may_command_until_ms(), None);
}

#[test]
fn a_holder_answers_once_and_one_that_has_not_read_lately_reads_first() {
    let question = |nonce| Input::Heard(GateMessage::Question { holder: US, nonce });
    let answer = |nonce| Effect::Say(GateMessage::Answer { holder: US, nonce });
    let mut gate = attached();
    assert_eq!(gate.handle(5, &ALONE, question(7)), [answer(7)]);
    assert_eq!(gate.handle(5, &ALONE, question(7)), [], "it is heard on two connections");
    let elsewhere = GateMessage::Question { holder: OTHER, nonce: 8 };
    assert_eq!(gate.handle(6, &ALONE, Input::Heard(elsewhere)), []);
    let awake_ms = 20_000;
    let effects = gate.handle(awake_ms, &ALONE, question(9));
    assert_eq!(effects, [Effect::Detach(Why::Unread), Effect::Read]);
    let effects = gate.handle(awake_ms + 1, &ALONE, read(Holder::Us));
    assert_eq!(effects, [Effect::Say(held(US)), Effect::Attach, answer(9)]);
}

#[test]
fn a_holder_that_cannot_read_stops_in_time() {
    let mut gate = attached();
    assert_eq!(gate.handle(GATE_CHECK_MS, &ALONE, Input::Timer), [Effect::Read]);
    assert_eq!(gate.timer_ms(), Some(GATE_UNREAD_MS));
    assert_eq!(gate.handle(GATE_UNREAD_MS, &ALONE, Input::Timer), [Effect::Detach(Why::Unread)]);
    // What the reading said at last was so not long enough ago.
    let late_ms = GATE_CHECK_MS + GATE_UNREAD_MS;
    assert_eq!(gate.handle(late_ms, &ALONE, read(Holder::Us)), [Effect::Read]);
    let effects = gate.handle(late_ms + 1, &ALONE, read(Holder::Us));
    assert_eq!(effects, [Effect::Say(held(US)), Effect::Attach]);
}

#[test]
fn a_command_that_could_not_be_sent_is_sent_later() {
    let mut gate = attached();
    assert_eq!(gate.handle(GATE_CHECK_MS, &ALONE, Input::Timer), [Effect::Read]);
    assert_eq!(gate.handle(GATE_CHECK_MS, &ALONE, Input::NotSent), []);
    assert_eq!(gate.timer_ms(), Some(GATE_CHECK_MS + GATE_RETRY_MS));
    assert_eq!(gate.handle(GATE_CHECK_MS + GATE_RETRY_MS, &ALONE, Input::Timer), [Effect::Read]);
}

#[test]
fn a_node_that_stops_frees_the_gate_and_one_that_leaves_does_so_for_a_successor() {
    let mut gate = attached();
    let leaving = Says { intent: Intent::Leave, ..ALONE };
    assert_eq!(gate.handle(5, &leaving, Input::ClusterChanged), [], "nobody else is there");
    let leaving = Says { has_successor: true, ..leaving };
    let effects = gate.handle(6, &leaving, Input::ClusterChanged);
    assert_eq!(effects, [Effect::Detach(Why::LetGo), Effect::Release]);
    assert_eq!(gate.handle(7, &leaving, Input::Reply(Reply::Freed(true))), []);
    gate.handle(7 + GATE_CHECK_MS, &leaving, Input::Timer);
    assert_eq!(gate.handle(8 + GATE_CHECK_MS, &leaving, read(Holder::Nobody)), [], "it is the other's");
    let stopping = Says { intent: Intent::Stop, ..ALONE };
    assert_eq!(gate.handle(9 + GATE_CHECK_MS, &stopping, Input::ClusterChanged), [Effect::End]);

    let mut gate = attached();
    let effects = gate.handle(5, &stopping, Input::ClusterChanged);
    assert_eq!(effects, [Effect::Detach(Why::LetGo), Effect::Release]);
    assert_eq!(gate.handle(6, &stopping, Input::Reply(Reply::Freed(true))), [Effect::End]);
}

#[test]
fn a_node_that_stops_while_it_takes_the_gate_frees_it() {
    let mut gate = Gate::new(US, 0, 0);
    gate.handle(0, &ALONE, Input::Timer);
    assert_eq!(gate.handle(1, &ALONE, read(Holder::Nobody)), [Effect::Take]);
    let stopping = Says { intent: Intent::Stop, ..ALONE };
    assert_eq!(gate.handle(2, &stopping, Input::ClusterChanged), []);
    let effects = gate.handle(3, &stopping, Input::Reply(Reply::Took(true)));
    assert_eq!(effects, [Effect::Taken(None), Effect::Release]);
    assert_eq!(gate.handle(4, &stopping, Input::Reply(Reply::Freed(true))), [Effect::End]);
}

#[test]
fn a_node_that_cannot_serve_frees_the_gate_and_a_lost_connection_ends_everything() {
    let mut gate = attached();
    let effects = gate.handle(5, &ALONE, Input::GiveUp);
    assert_eq!(effects, [Effect::Detach(Why::GaveUp), Effect::Release]);
    assert_eq!(gate.handle(6, &ALONE, Input::Reply(Reply::Freed(true))), [Effect::End]);
    let mut gate = attached();
    let effects = gate.handle(5, &ALONE, Input::ConnectionLost);
    assert_eq!(effects, [Effect::Detach(Why::ConnectionLost), Effect::End]);
    assert_eq!(gate.handle(6, &ALONE, read(Holder::Us)), []);
    assert_eq!((gate.timer_ms(), gate.may_command_until_ms()), (None, None));
}

#[test]
fn what_is_no_node_is_left_to_the_operator() {
    let mut gate = Gate::new(US, 0, 0);
    for now_ms in [0, GATE_CHECK_MS, 2 * GATE_CHECK_MS, 60_000] {
        assert_eq!(gate.handle(now_ms, &ALONE, Input::Timer), [Effect::Read]);
        assert_eq!(gate.handle(now_ms, &ALONE, read(Holder::Stranger)), []);
    }
}
