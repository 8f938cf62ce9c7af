//! Why a call ended: FreeSWITCH's names, the Q.850 numbers, and the SIP status that says the same.

/// A hangup cause of the table below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    name: &'static str,
    q850: u16,
    sip_status: u16,
    sip_phrase: &'static str,
}

/// The causes that the emulated switch knows. Names and numbers are of ITU-T Q.850 and FreeSWITCH's own above 127,
/// the status codes of RFC 3398 and RFC 4497.
const CAUSES: &[Cause] = &[
    cause("NONE", 0, 480, "Temporarily Unavailable"),
    cause("UNALLOCATED_NUMBER", 1, 404, "Not Found"),
    cause("NO_ROUTE_TRANSIT_NET", 2, 404, "Not Found"),
    cause("NO_ROUTE_DESTINATION", 3, 404, "Not Found"),
    cause("CHANNEL_UNACCEPTABLE", 6, 480, "Temporarily Unavailable"),
    cause("NORMAL_CLEARING", 16, 480, "Temporarily Unavailable"),
    cause("USER_BUSY", 17, 486, "Busy Here"),
    cause("NO_USER_RESPONSE", 18, 408, "Request Timeout"),
    cause("NO_ANSWER", 19, 480, "Temporarily Unavailable"),
    cause("SUBSCRIBER_ABSENT", 20, 480, "Temporarily Unavailable"),
    cause("CALL_REJECTED", 21, 603, "Decline"),
    cause("NUMBER_CHANGED", 22, 410, "Gone"),
    cause("DESTINATION_OUT_OF_ORDER", 27, 502, "Bad Gateway"),
    cause("INVALID_NUMBER_FORMAT", 28, 484, "Address Incomplete"),
    cause("FACILITY_REJECTED", 29, 501, "Not Implemented"),
    cause("NORMAL_UNSPECIFIED", 31, 480, "Temporarily Unavailable"),
    cause("NORMAL_CIRCUIT_CONGESTION", 34, 503, "Service Unavailable"),
    cause("NETWORK_OUT_OF_ORDER", 38, 502, "Bad Gateway"),
    cause("NORMAL_TEMPORARY_FAILURE", 41, 503, "Service Unavailable"),
    cause("SWITCH_CONGESTION", 42, 503, "Service Unavailable"),
    cause("OUTGOING_CALL_BARRED", 52, 403, "Forbidden"),
    cause("INCOMPATIBLE_DESTINATION", 88, 488, "Not Acceptable Here"),
    cause("CHAN_NOT_IMPLEMENTED", 66, 501, "Not Implemented"),
    cause("RECOVERY_ON_TIMER_EXPIRE", 102, 504, "Gateway Time-out"),
    cause("MANDATORY_IE_MISSING", 96, 400, "Bad Request"),
    cause("EXCHANGE_ROUTING_ERROR", 25, 483, "Too Many Hops"),
    cause("SERVICE_UNAVAILABLE", 63, 503, "Service Unavailable"),
    cause("INTERWORKING", 127, 480, "Temporarily Unavailable"),
    cause("ORIGINATOR_CANCEL", 16, 487, "CANCEL"),
    cause("LOSE_RACE", 16, 487, "Request Terminated"),
    cause("MANAGER_REQUEST", 16, 480, "Temporarily Unavailable"),
    cause("ALLOTTED_TIMEOUT", 102, 480, "Temporarily Unavailable"),
    cause("MEDIA_TIMEOUT", 38, 480, "Temporarily Unavailable"),
    cause("PICKED_OFF", 16, 480, "Temporarily Unavailable"),
    cause("USER_NOT_REGISTERED", 20, 480, "Temporarily Unavailable"),
    cause("PROGRESS_TIMEOUT", 102, 480, "Temporarily Unavailable"),
    cause("INVALID_GATEWAY", 38, 502, "Bad Gateway"),
    cause("GATEWAY_DOWN", 38, 502, "Bad Gateway"),
    cause("SYSTEM_SHUTDOWN", 16, 503, "Service Unavailable"),
    cause("CRASH", 16, 503, "Service Unavailable"),
    cause("ATTENDED_TRANSFER", 16, 480, "Temporarily Unavailable"),
    cause("BLIND_TRANSFER", 16, 480, "Temporarily Unavailable"),
];

const fn cause(name: &'static str, q850: u16, sip_status: u16, sip_phrase: &'static str) -> Cause {
    Cause { name, q850, sip_status, sip_phrase }
}

impl Cause {
    /// The usual end of a call.
    pub const NORMAL_CLEARING: Self = cause("NORMAL_CLEARING", 16, 480, "Temporarily Unavailable");

    /// The cause of this name or Q.850 number. What is unknown becomes `NORMAL_CLEARING`, as FreeSWITCH does it
    /// (freeswitch README "Commands that bite").
    pub fn named(text: &str) -> Self {
        Self::known(text).unwrap_or(Self::NORMAL_CLEARING)
    }

    /// The cause of this name or Q.850 number, if there is one.
    pub fn known(text: &str) -> Option<Self> {
        let text = text.trim();
        let number = text.parse::<u16>().ok();
        CAUSES
            .iter()
            .find(|cause| cause.name.eq_ignore_ascii_case(text) || Some(cause.q850) == number)
            .copied()
    }

    /// `NORMAL_CLEARING` and so on.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The number in `hangup_cause_q850`.
    pub fn q850(self) -> u16 {
        self.q850
    }

    /// The SIP status and phrase with which a callee refuses for this cause.
    pub fn sip(self) -> (u16, &'static str) {
        (self.sip_status, self.sip_phrase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_found_by_name_and_number() {
        assert_eq!(Cause::named("user_busy").q850(), 17);
        assert_eq!(Cause::named("17").name(), "USER_BUSY");
        assert_eq!(Cause::named("NOSUCH"), Cause::NORMAL_CLEARING);
        assert_eq!(Cause::known("NOSUCH"), None);
    }
}
