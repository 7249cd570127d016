//! Asking firewalls, and this host's pf, for states.

use super::{Counter, Kind};

counters! {
    /// Asking firewalls for whole states. What was asked, repetitions left out, was answered, gone,
    /// unanswered, overtaken, or waits.
    SolicitCounters {
        requested: "states asked for, silent for the first time",
        again: "states asked for again, silent once more",
        active: "states asked for because they live long",
        unknown: "states asked for of which only an update was heard",
        unknown_refused: "updates of states not known beyond the bound, not asked for",
        unknown_expired: "states not known and not heard of again, given up before they could be asked for",
        adopted: "requests of others that were as good as ours",
        repeated: "requests repeated, no answer came within 2 seconds",
        answered: "requests answered",
        gone: "states that pf did not know any more when it was asked",
        unanswered: "requests that nobody answered",
        overtaken: "states that ended before the answer came",
        resumed: "states that went on after they were asked for",
        deferred: "requests held back by the rate",
        withheld: "requests left out: there were too many for the flows that ended",
        unaskable: "states not asked for: their sender cannot be asked",
        heard_own: "requests for states of our own heard on the wire",
        heard_others: "requests for states of others heard on the wire",
        bulk_requested: "bulk transfers asked for",
        bulk_repeated: "bulk requests repeated, none began within 5 seconds",
        bulk_failed: "bulk requests that no transfer followed",
        bulk_refused: "firewalls beyond the bound, not asked for bulk transfers",
        bulk_started: "bulk transfers that began",
        bulk_ended: "bulk transfers that ended",
        packets: "packets of requests sent",
        octets: "octets of packets of requests, IP header left out",
        send_errors: "packets of requests that could not be sent",
    }
}

counters! {
    /// Asking this host's own pf.
    PfCounters {
        asked: "states that pf was asked for",
        answered: "states that pf told",
        gone: "states that pf did not know",
        unreadable: "states that pf told and that cannot be read",
        refused: "states that pf was not asked for: too many requests wait",
        failed: "states that pf was asked for in vain",
        reads: "times that all states were read",
        read_states: gauge "states in the last read of all",
        read_micros: "microseconds that reads of all states took",
    }
}
