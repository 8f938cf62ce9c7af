//! Who belongs to the cluster is a replicated document, apart from who is alive: a node that joins after another was
//! killed finds the dead one in the registry, though it never heard it.

use fipple_tests::{TestCluster, eventually};
use serde_json::Value;

fn state_of(members: &Value, name: &str) -> String {
    let member = members.as_array().into_iter().flatten().find(|member| member["name"] == name);
    member.and_then(|member| member["state"].as_str()).unwrap_or("unknown").to_owned()
}

#[test]
fn a_newcomer_learns_of_a_member_that_died_before_it_came() {
    let mut cluster = TestCluster::start(2, &[]);
    eventually("the registry has both members on both disks", || {
        let complete = |node: &fipple_tests::NodeProcess| -> Result<bool, String> {
            let members = node.data("/v2/cluster/members")?;
            Ok(members.as_array().into_iter().flatten().all(|member| member["enrolled_at_ms"].is_u64()))
        };
        match complete(&cluster.nodes[0])? && complete(&cluster.nodes[1])? {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    });
    cluster.nodes[1].kill();
    eventually("the first node notices the death", || {
        match state_of(&cluster.nodes[0].data("/v2/cluster/members")?, "node2").as_str() {
            "down" => Ok(()),
            other => Err(other.to_owned()),
        }
    });

    cluster.start_node();
    eventually("the newcomer knows the dead", || {
        let members = cluster.nodes[2].data("/v2/cluster/members")?;
        match (state_of(&members, "node1").as_str(), state_of(&members, "node2").as_str()) {
            ("alive", "down") => Ok(()),
            _ => Err(members.to_string()),
        }
    });
}
