//! What pf keeps of ICMP: a query's identifier and type, where other protocols have ports.

/// IP protocol of ICMP.
pub(crate) const ICMP: u8 = 1;
/// IP protocol of ICMPv6.
pub(crate) const ICMPV6: u8 = 58;

/// Whether it is the protocol number of either.
pub(crate) fn is_icmp(proto: u8) -> bool {
    matches!(proto, ICMP | ICMPV6)
}

/// ICMP types of queries that pf maps answers to (pf.c, `pf_icmp_mapping`): echo, router
/// solicitation, time stamp, information, address mask, where are you, mobile registration.
const QUERIES: &[u8] = &[8, 10, 13, 15, 17, 33, 35];
/// The same of ICMPv6: echo, listener query, router and neighbour solicitation, node information.
const QUERIES6: &[u8] = &[128, 130, 133, 135, 139];

/// What the ports of an ICMP state hold (pf.c, `pf_icmp_mapping`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Icmp {
    /// Identifier of the query.
    pub(crate) id: u16,
    /// Type of the request, where it was kept.
    pub(crate) kind: Option<u8>,
}

impl Icmp {
    /// Of a dialect that keeps nothing but the id.
    pub(crate) fn of_id(id: u16) -> Self {
        Self { id, kind: None }
    }

    /// From the initiator's and the responder's port, where the one keeps the id and the other the
    /// type of the request: the responder's, or the initiator's if a reply made the state (pf.c,
    /// `pf_icmp_mapping`). A query's type is taken for one wherever it stands, and 0 never is.
    pub(crate) fn of_query(proto: u8, src: u16, dst: u16) -> Option<Self> {
        let queries = if proto == ICMPV6 { QUERIES6 } else { QUERIES };
        let is_query = |port: u16| queries.iter().any(|kind| u16::from(*kind) == port);
        let is_type = |port: u16| (1..=0xff).contains(&port);
        let (id, kind) = match (is_query(dst), is_query(src)) {
            (true, _) => (src, dst),
            (false, true) => (dst, src),
            _ if is_type(dst) => (src, dst),
            _ if is_type(src) => (dst, src),
            // OpenBSD 3.8 to 4.3 have the id on one side only.
            _ if src == 0 || dst == 0 => return Some(Self::of_id(src.max(dst))),
            _ => return None,
        };
        Some(Self {
            id,
            kind: u8::try_from(kind).ok(),
        })
    }

    /// The same of a state whose sender may be older than that: OpenBSD 4.4, 4.5 and FreeBSD to
    /// 13 have the id in both ports.
    pub(crate) fn of_ports(proto: u8, src: u16, dst: u16) -> Option<Self> {
        if src == dst {
            Some(Self::of_id(src))
        } else {
            Self::of_query(proto, src, dst)
        }
    }

    /// Type times 256 and code as a record of one direction has them; 0: not known. Queries and
    /// their answers have code 0, and an answer's type follows its query's (RFC 792, 4443, 4861).
    pub(crate) fn type_code(self, proto: u8, reverse: bool) -> u16 {
        let kind = self.kind.unwrap_or(0);
        let kind = match (reverse, proto, kind) {
            (true, ICMP, 8) => 0,
            (true, ICMP, 10) => 9,
            (true, ICMP, 13 | 15 | 17 | 33 | 35) => kind + 1,
            (true, ICMPV6, 128 | 130 | 133 | 135 | 139) => kind + 1,
            _ => kind,
        };
        u16::from(kind) << 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_query_is_told_from_its_id_on_either_side() {
        let told = |proto, src, dst| {
            Icmp::of_query(proto, src, dst).map(|icmp| (icmp.kind.unwrap_or(0), icmp.id))
        };
        for (proto, src, dst, expected) in [
            (ICMP, 4660, 8, (8, 4660)),
            (ICMP, 8, 4660, (8, 4660)),
            // Ids below 256 look like types: a query's type is one, and 0 is not.
            (ICMP, 5, 8, (8, 5)),
            (ICMP, 8, 5, (8, 5)),
            (ICMP, 0, 8, (8, 0)),
            (ICMP, 8, 0, (8, 0)),
            (ICMP, 17, 0, (17, 0)),
            // Neighbour discovery has id 0; who answered made the state.
            (ICMPV6, 135, 0, (135, 0)),
            (ICMPV6, 0, 135, (135, 0)),
            (ICMPV6, 128, 8, (128, 8)),
            (ICMPV6, 8, 128, (128, 8)),
            // Others keep the type in the responder's place.
            (ICMPV6, 0, 143, (143, 0)),
            (ICMPV6, 143, 0, (143, 0)),
        ] {
            assert_eq!(told(proto, src, dst), Some(expected), "{proto} {src} {dst}");
        }
        assert_eq!(told(ICMP, 4660, 4661), None);
        assert_eq!(told(ICMP, 0, 0), Some((0, 0)));
        assert_eq!(Icmp::of_query(ICMP, 0, 4660), Some(Icmp::of_id(4660)));
    }

    #[test]
    fn an_answer_has_the_type_that_follows_its_querys() {
        let of = |proto, kind, reverse| {
            Icmp {
                id: 1,
                kind: Some(kind),
            }
            .type_code(proto, reverse)
        };
        assert_eq!((of(ICMP, 8, false), of(ICMP, 8, true)), (0x0800, 0));
        assert_eq!((of(ICMP, 13, true), of(ICMP, 10, true)), (0x0e00, 0x0900));
        assert_eq!(
            (of(ICMPV6, 128, false), of(ICMPV6, 128, true)),
            (0x8000, 0x8100)
        );
        assert_eq!(Icmp::of_id(7).type_code(ICMP, false), 0);
    }
}
