//! The IPFIX information elements that pflow's templates and its JSON use, as IANA registers them.

/// Whose number an element has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Registry {
    /// IANA's.
    Iana,
    /// IANA's, of the way back (RFC 5103 6.1).
    Reverse,
    /// Ours, under the enterprise number that an interface is set to.
    Own,
}

/// An information element: its number, octets, name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Element {
    /// Number in its registry.
    pub id: u16,
    /// Octets in a record; `VARIABLE` for a string.
    pub len: u16,
    /// Name in its registry.
    pub name: &'static str,
    /// Whose number it is.
    pub registry: Registry,
}

/// The length in a template of what has one of its own in each record (RFC 7011 7).
pub const VARIABLE: u16 = 65535;

macro_rules! elements {
    ($all:ident, $registry:ident: $($constant:ident = $id:literal, $len:expr, $name:literal;)*) => {
        $(#[doc = concat!($name, ", ", stringify!($len), " octets.")]
        pub const $constant: Element = Element {
            id: $id, len: $len, name: $name, registry: Registry::$registry
        };)*
        /// All of them.
        pub const $all: &[Element] = &[$($constant,)*];
    };
}

elements! { ALL, Iana:
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
    NEXT_HOP_IPV4 = 15, 4, "ipNextHopIPv4Address";
    FLOW_END_UPTIME = 21, 4, "flowEndSysUpTime";
    FLOW_START_UPTIME = 22, 4, "flowStartSysUpTime";
    SOURCE_IPV6 = 27, 16, "sourceIPv6Address";
    DESTINATION_IPV6 = 28, 16, "destinationIPv6Address";
    ICMP_TYPE_CODE_IPV4 = 32, 2, "icmpTypeCodeIPv4";
    SAMPLING_INTERVAL = 34, 4, "samplingInterval";
    SAMPLING_ALGORITHM = 35, 1, "samplingAlgorithm";
    EXPORTED_OCTETS = 40, 8, "exportedOctetTotalCount";
    EXPORTED_MESSAGES = 41, 8, "exportedMessageTotalCount";
    EXPORTED_RECORDS = 42, 8, "exportedFlowRecordTotalCount";
    POST_CLASS_OF_SERVICE = 55, 1, "postIpClassOfService";
    FLOW_DIRECTION = 61, 1, "flowDirection";
    NEXT_HOP_IPV6 = 62, 16, "ipNextHopIPv6Address";
    INTERFACE_NAME = 82, VARIABLE, "interfaceName";
    INTERFACE_DESCRIPTION = 83, VARIABLE, "interfaceDescription";
    FLOW_END_REASON = 136, 1, "flowEndReason";
    ICMP_TYPE_CODE_IPV6 = 139, 2, "icmpTypeCodeIPv6";
    EXPORTING_PROCESS = 144, 4, "exportingProcessId";
    TEMPLATE = 145, 2, "templateId";
    FLOW_ID = 148, 8, "flowId";
    OBSERVATION_DOMAIN = 149, 4, "observationDomainId";
    FLOW_START = 152, 8, "flowStartMilliseconds";
    FLOW_END = 153, 8, "flowEndMilliseconds";
    SYSTEM_INIT = 160, 8, "systemInitTimeMilliseconds";
    IGNORED_PACKETS = 164, 8, "ignoredPacketTotalCount";
    NOT_SENT_RECORDS = 166, 8, "notSentFlowTotalCount";
    FLOW_KEYS = 173, 8, "flowKeyIndicator";
    ICMP_TYPE_IPV4 = 176, 1, "icmpTypeIPv4";
    ICMP_TYPE_IPV6 = 178, 1, "icmpTypeIPv6";
    POST_NAT_SOURCE_IPV4 = 225, 4, "postNATSourceIPv4Address";
    POST_NAT_DESTINATION_IPV4 = 226, 4, "postNATDestinationIPv4Address";
    POST_NAPT_SOURCE_PORT = 227, 2, "postNAPTSourceTransportPort";
    POST_NAPT_DESTINATION_PORT = 228, 2, "postNAPTDestinationTransportPort";
    NAT_EVENT = 230, 1, "natEvent";
    INGRESS_VRF = 234, 4, "ingressVRFID";
    EGRESS_VRF = 235, 4, "egressVRFID";
    BIFLOW_DIRECTION = 239, 1, "biflowDirection";
    POST_NAT_SOURCE_IPV6 = 281, 16, "postNATSourceIPv6Address";
    POST_NAT_DESTINATION_IPV6 = 282, 16, "postNATDestinationIPv6Address";
    OBSERVATION_DOMAIN_NAME = 300, VARIABLE, "observationDomainName";
    ELEMENT_ID = 303, 2, "informationElementId";
    SELECTOR_ALGORITHM = 304, 2, "selectorAlgorithm";
    SAMPLING_PACKETS = 305, 4, "samplingPacketInterval";
    SAMPLING_SPACE = 306, 4, "samplingPacketSpace";
    OBSERVATION_TIME = 323, 8, "observationTimeMilliseconds";
    ELEMENT_TYPE = 339, 1, "informationElementDataType";
    ELEMENT_DESCRIPTION = 340, VARIABLE, "informationElementDescription";
    ELEMENT_NAME = 341, VARIABLE, "informationElementName";
    ELEMENT_RANGE_BEGIN = 342, 8, "informationElementRangeBegin";
    ELEMENT_RANGE_END = 343, 8, "informationElementRangeEnd";
    ELEMENT_SEMANTICS = 344, 1, "informationElementSemantics";
    ELEMENT_UNITS = 345, 2, "informationElementUnits";
    ENTERPRISE_NUMBER = 346, 4, "privateEnterpriseNumber";
    ORIGINAL_EXPORTER_IPV4 = 403, 4, "originalExporterIPv4Address";
    ORIGINAL_EXPORTER_IPV6 = 404, 16, "originalExporterIPv6Address";
    ORIGINAL_DOMAIN = 405, 4, "originalObservationDomainId";
}

elements! { REVERSE, Reverse:
    REVERSE_OCTETS = 1, 8, "reverseOctetDeltaCount";
    REVERSE_PACKETS = 2, 8, "reversePacketDeltaCount";
    REVERSE_ICMP_IPV4 = 32, 2, "reverseIcmpTypeCodeIPv4";
    REVERSE_ICMP_IPV6 = 139, 2, "reverseIcmpTypeCodeIPv6";
}

elements! { OWN, Own:
    QUALITY = 1, 1, "flowQuality";
    PART = 2, 4, "flowPart";
    RULE = 3, 4, "pfRule";
    ANCHOR = 4, 4, "pfAnchor";
    NAT_RULE = 5, 4, "pfNatRule";
    STATE_FLAGS = 6, 2, "pfStateFlags";
    INITIATOR_STATE = 7, 1, "pfInitiatorState";
    RESPONDER_STATE = 8, 1, "pfResponderState";
    DIALECT = 9, 1, "pfsyncDialect";
}

/// NetFlow v9's scope of an exporter as a whole (RFC 3954 6.1); scopes have numbers of their own.
pub const SCOPE_SYSTEM: Element = Element {
    id: 1,
    len: 4,
    name: "system",
    registry: Registry::Iana,
};
/// NetFlow v9's scope of an interface.
pub const SCOPE_INTERFACE: Element = Element {
    id: 2,
    len: 4,
    name: "interface",
    registry: Registry::Iana,
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
        for all in [ALL, REVERSE, OWN] {
            for (n, a) in all.iter().enumerate() {
                assert!(
                    all[n + 1..]
                        .iter()
                        .all(|b| a.id != b.id && a.name != b.name)
                );
            }
        }
    }
}
