//! The IPFIX information elements that pflow's templates and its JSON use, as IANA registers them.

/// An information element: IANA's number, octets, IANA's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Element {
    /// Number in IANA's registry.
    pub id: u16,
    /// Octets in a record; `VARIABLE` for a string.
    pub len: u16,
    /// Name in IANA's registry.
    pub name: &'static str,
}

/// The length in a template of what has one of its own in each record (RFC 7011 7).
const VARIABLE: u16 = 65535;

macro_rules! elements {
    ($($constant:ident = $id:literal, $len:expr, $name:literal;)*) => {
        $(#[doc = concat!($name, ", ", stringify!($len), " octets.")]
        pub const $constant: Element = Element { id: $id, len: $len, name: $name };)*
        /// All of them.
        pub const ALL: &[Element] = &[$($constant,)*];
    };
}

elements! {
    OCTET_DELTA_COUNT = 1, 8, "octetDeltaCount";
    PACKET_DELTA_COUNT = 2, 8, "packetDeltaCount";
    PROTOCOL = 4, 1, "protocolIdentifier";
    CLASS_OF_SERVICE = 5, 1, "ipClassOfService";
    SOURCE_PORT = 7, 2, "sourceTransportPort";
    SOURCE_IPV4 = 8, 4, "sourceIPv4Address";
    INGRESS_INTERFACE = 10, 4, "ingressInterface";
    DESTINATION_PORT = 11, 2, "destinationTransportPort";
    DESTINATION_IPV4 = 12, 4, "destinationIPv4Address";
    EGRESS_INTERFACE = 14, 4, "egressInterface";
    FLOW_END_UPTIME = 21, 4, "flowEndSysUpTime";
    FLOW_START_UPTIME = 22, 4, "flowStartSysUpTime";
    SOURCE_IPV6 = 27, 16, "sourceIPv6Address";
    DESTINATION_IPV6 = 28, 16, "destinationIPv6Address";
    ICMP_TYPE_CODE_IPV4 = 32, 2, "icmpTypeCodeIPv4";
    SAMPLING_INTERVAL = 34, 4, "samplingInterval";
    SAMPLING_ALGORITHM = 35, 1, "samplingAlgorithm";
    FLOW_DIRECTION = 61, 1, "flowDirection";
    INTERFACE_NAME = 82, VARIABLE, "interfaceName";
    FLOW_END_REASON = 136, 1, "flowEndReason";
    FLOW_ID = 148, 8, "flowId";
    FLOW_START = 152, 8, "flowStartMilliseconds";
    FLOW_END = 153, 8, "flowEndMilliseconds";
    ICMP_TYPE_IPV4 = 176, 1, "icmpTypeIPv4";
    ICMP_TYPE_IPV6 = 178, 1, "icmpTypeIPv6";
    POST_NAT_SOURCE_IPV4 = 225, 4, "postNATSourceIPv4Address";
    POST_NAT_DESTINATION_IPV4 = 226, 4, "postNATDestinationIPv4Address";
    POST_NAPT_SOURCE_PORT = 227, 2, "postNAPTSourceTransportPort";
    POST_NAPT_DESTINATION_PORT = 228, 2, "postNAPTDestinationTransportPort";
    NAT_EVENT = 230, 1, "natEvent";
    POST_NAT_SOURCE_IPV6 = 281, 16, "postNATSourceIPv6Address";
    POST_NAT_DESTINATION_IPV6 = 282, 16, "postNATDestinationIPv6Address";
    OBSERVATION_TIME = 323, 8, "observationTimeMilliseconds";
}

/// NetFlow v9's scope of an exporter as a whole (RFC 3954 6.1); scopes have numbers of their own.
pub const SCOPE_SYSTEM: Element = Element {
    id: 1,
    len: 4,
    name: "system",
};
/// NetFlow v9's scope of an interface.
pub const SCOPE_INTERFACE: Element = Element {
    id: 2,
    len: 4,
    name: "interface",
};
/// [`INTERFACE_NAME`] where no length varies: that of an interface's name.
pub const NETFLOW9_INTERFACE_NAME: Element = Element {
    len: 16,
    ..INTERFACE_NAME
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_element_stands_twice() {
        for (n, a) in ALL.iter().enumerate() {
            assert!(
                ALL[n + 1..]
                    .iter()
                    .all(|b| a.id != b.id && a.name != b.name)
            );
        }
    }
}
