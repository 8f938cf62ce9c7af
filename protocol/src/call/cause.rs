//! Why a call ends, in the switch's words.

/// FreeSWITCH's names of causes: ITU-T Q.850 and its own (`hangup_cause` in its events; `switch_types.h`). What is not among
/// them becomes `NORMAL_CLEARING` without a word, which is why it is checked before it is sent.
const CAUSES: &[&str] = &[
    "ACCESS_INFO_DISCARDED",
    "ALLOTTED_TIMEOUT",
    "ATTENDED_TRANSFER",
    "BAD_IDENTITY_INFO",
    "BEARERCAPABILITY_NOTAUTH",
    "BEARERCAPABILITY_NOTAVAIL",
    "BEARERCAPABILITY_NOTIMPL",
    "BLIND_TRANSFER",
    "BUSY_EVERYWHERE",
    "CALL_AWARDED_DELIVERED",
    "CALL_REJECTED",
    "CHANNEL_UNACCEPTABLE",
    "CHAN_NOT_IMPLEMENTED",
    "CRASH",
    "DECLINE",
    "DESTINATION_OUT_OF_ORDER",
    "DOES_NOT_EXIST_ANYWHERE",
    "EXCHANGE_ROUTING_ERROR",
    "FACILITY_NOT_IMPLEMENTED",
    "FACILITY_NOT_SUBSCRIBED",
    "FACILITY_REJECTED",
    "GATEWAY_DOWN",
    "IE_NONEXIST",
    "INCOMING_CALL_BARRED",
    "INCOMPATIBLE_DESTINATION",
    "INTERWORKING",
    "INVALID_CALL_REFERENCE",
    "INVALID_GATEWAY",
    "INVALID_IDENTITY",
    "INVALID_IE_CONTENTS",
    "INVALID_MSG_UNSPECIFIED",
    "INVALID_NUMBER_FORMAT",
    "INVALID_PROFILE",
    "INVALID_URL",
    "LOSE_RACE",
    "MANAGER_REQUEST",
    "MANDATORY_IE_LENGTH_ERROR",
    "MANDATORY_IE_MISSING",
    "MEDIA_TIMEOUT",
    "MESSAGE_TYPE_NONEXIST",
    "NETWORK_OUT_OF_ORDER",
    "NORMAL_CIRCUIT_CONGESTION",
    "NORMAL_CLEARING",
    "NORMAL_TEMPORARY_FAILURE",
    "NORMAL_UNSPECIFIED",
    "NOT_ACCEPTABLE",
    "NO_ANSWER",
    "NO_IDENTITY",
    "NO_PICKUP",
    "NO_ROUTE_DESTINATION",
    "NO_ROUTE_TRANSIT_NET",
    "NO_USER_RESPONSE",
    "NUMBER_CHANGED",
    "ORIGINATOR_CANCEL",
    "OUTGOING_CALL_BARRED",
    "PICKED_OFF",
    "PRE_EMPTED",
    "PROGRESS_TIMEOUT",
    "PROTOCOL_ERROR",
    "RECOVERY_ON_TIMER_EXPIRE",
    "REDIRECTION_TO_NEW_DESTINATION",
    "REJECT_ALL",
    "REQUESTED_CHAN_UNAVAIL",
    "RESPONSE_TO_STATUS_ENQUIRY",
    "SERVICE_NOT_IMPLEMENTED",
    "SERVICE_UNAVAILABLE",
    "SRTP_READ_ERROR",
    "STALE_DATE",
    "SUBSCRIBER_ABSENT",
    "SWITCH_CONGESTION",
    "SYSTEM_SHUTDOWN",
    "UNALLOCATED_NUMBER",
    "UNSUPPORTED_CERTIFICATE",
    "UNWANTED",
    "USER_BUSY",
    "USER_CHALLENGE",
    "USER_NOT_REGISTERED",
    "WRONG_CALL_STATE",
    "WRONG_MESSAGE",
];

/// Whether the switch knows this cause.
pub(super) fn is_cause(name: &str) -> bool {
    CAUSES.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_found_because_they_are_in_order() {
        assert!(CAUSES.is_sorted());
        assert!(CAUSES.iter().all(|cause| is_cause(cause)));
        assert!(!is_cause("USER_BUSSY") && !is_cause("user_busy") && !is_cause(""));
    }
}
