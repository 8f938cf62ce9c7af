//! Which flow a call has is named through the fence, so that no stale node takes one away.
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy sees only in #[test]")]

mod common;

use common::Bench;

#[test]
fn the_flow_of_a_call_is_named_in_its_epoch_alone() {
    let mut bench = Bench::logged_in();
    bench.park("u");
    bench.ask("api uuid_setvar_multi u fipple_epoch=3;fipple_flow=night");
    let mut flow = |words: &str| bench.ask(&format!("api lua fipple_fence.lua flow {words}"));
    assert_eq!(flow("u:2 park"), "-ERR stale 3\n");
    assert_eq!(flow("gone:2 park"), "-ERR gone\n");
    for wrong in ["u park", "u:3", "u:3 a;b", "u:3,v:3 park", "u:3 park more"] {
        assert!(flow(wrong).starts_with("-USAGE"), "{wrong}");
    }
    assert!(flow("u:3 park").starts_with("+OK"));
    assert_eq!(bench.ask("api uuid_getvar u fipple_flow"), "park");
    assert!(bench.ask("api lua fipple_fence.lua flow u:- -").starts_with("+OK"));
    assert_eq!(bench.ask("api uuid_getvar u fipple_flow"), "_undef_");
}
