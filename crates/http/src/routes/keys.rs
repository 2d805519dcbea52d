//! The parameters that the rows read, with their names in all generations.

use crate::params::Key::{self, *};

pub(super) const INSTANCE: &[Key] = &[
    NamespaceId,
    GroupName,
    ServiceName,
    Ip,
    Port,
    ClusterName,
    Cluster,
    Weight,
    Healthy,
    Enabled,
    Enable,
    Ephemeral,
    Metadata,
];
pub(super) const DETAIL: &[Key] = &[NamespaceId, GroupName, ServiceName, Ip, Port, ClusterName];
pub(super) const BEAT: &[Key] = &[NamespaceId, GroupName, ServiceName, Ip, Port, ClusterName, Beat];
pub(super) const LIST: &[Key] =
    &[NamespaceId, GroupName, ServiceName, Clusters, HealthyOnly, UdpPort, App, Consistent];
pub(super) const NAME: &[Key] = &[NamespaceId, GroupName, ServiceName];
pub(super) const RECORD: &[Key] =
    &[NamespaceId, GroupName, ServiceName, ProtectThreshold, Metadata, Selector];
pub(super) const SUBSCRIBERS: &[Key] = &[NamespaceId, GroupName, ServiceName, PageNo, PageSize, Aggregation];
pub(super) const PAGE: &[Key] = &[NamespaceId, GroupName, PageNo, PageSize];

/// The names that v1, v2 and v3 have for a configuration.
pub(super) const CONFIG: &[Key] = &[
    DataId,
    Group,
    GroupName,
    Tenant,
    NamespaceId,
    Tag,
    GrayName,
    Beta,
    Consistent,
    SrcUser,
    SrcUserV1,
    Reason,
];
/// v1 has one path for reading in all forms.
pub(super) const CONFIG_V1: &[Key] = &[
    DataId,
    Group,
    Tenant,
    NamespaceId,
    Tag,
    Consistent,
    Show,
    Search,
    Beta,
    Export,
    ExportV2,
    Ids,
    AppName,
    ConfigTagsV1,
    ConfigTags,
    Types,
    ConfigDetailV1,
    PageNo,
    PageSize,
];
pub(super) const PUBLISH: &[Key] = &[
    DataId,
    Group,
    GroupName,
    Tenant,
    NamespaceId,
    Namespace,
    Content,
    Tag,
    AppName,
    SrcUser,
    SrcUserV1,
    ConfigTags,
    ConfigTagsV1,
    Desc,
    Use,
    Effect,
    Type,
    Schema,
    EncryptedDataKey,
    GrayName,
    GrayRuleExp,
    GrayVersion,
    GrayPriority,
    Reason,
    Import,
    Clone,
    Policy,
];
pub(super) const REMOVE: &[Key] = &[
    DataId,
    Group,
    GroupName,
    Tenant,
    NamespaceId,
    Tag,
    GrayName,
    Beta,
    DelType,
    Ids,
    SrcUser,
    SrcUserV1,
    Reason,
];
pub(super) const SEARCH: &[Key] = &[
    DataId,
    Group,
    GroupName,
    Tenant,
    NamespaceId,
    Search,
    AppName,
    ConfigTags,
    ConfigTagsV1,
    Type,
    Types,
    ConfigDetail,
    ConfigDetailV1,
    PageNo,
    PageSize,
];
pub(super) const GREP: &[Key] =
    &[Content, DataId, GroupName, NamespaceId, AppName, ConfigTags, Type, PageNo, PageSize];
pub(super) const HISTORY: &[Key] =
    &[DataId, Group, GroupName, Tenant, NamespaceId, Search, Nid, Id, PageNo, PageSize];
pub(super) const DIFF: &[Key] = &[DataId, GroupName, NamespaceId, From, To];
pub(super) const ROLLBACK: &[Key] = &[DataId, GroupName, NamespaceId, Nid, SrcUser, Reason];
pub(super) const CAPACITY: &[Key] =
    &[Group, GroupName, Tenant, NamespaceId, Quota, MaxSize, MaxAggrCount, MaxAggrSize];
pub(super) const IMPORT: &[Key] =
    &[NamespaceId, TargetNamespaceId, Namespace, Policy, SrcUser, SrcUserV1, Reason];
pub(super) const EXPORT: &[Key] = &[Ids, DataId, GroupName, NamespaceId, AppName];
pub(super) const NAMESPACE: &[Key] = &[
    NamespaceId,
    CustomNamespaceId,
    Namespace,
    NamespaceName,
    NamespaceShowName,
    NamespaceDesc,
    Show,
    CheckNamespaceIdExist,
    Force,
    SrcUser,
    Reason,
];

/// What a long poll reads; the rest is in its headers.
pub(super) const POLL: &[Key] = &[ListeningConfigs];
pub(super) const LISTENERS: &[Key] =
    &[DataId, Group, GroupName, Tenant, NamespaceId, Namespace, Ip, All, Aggregation];
pub(super) const LOGIN: &[Key] = &[Username, Password];
