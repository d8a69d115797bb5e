//! The API resources that Kubernetes 1.36 serves by default.
//!
//! Generated from the discovery of kube-apiserver v1.36.3. The test `builtin_api_resources_are_those_of_the_api_server`
//! in `tests/it/api_resources.rs` compares it with the API server and writes it with `BLESS=1`.

/// One resource a line: API group (`-` for the core group), plural, singular, kind, short names, scope (`n` in namespaces,
/// `c` for the cluster), verbs, and the subresources with their verbs.
pub(super) const TABLE: &str = "\
- bindings binding Binding - n create
- componentstatuses componentstatus ComponentStatus cs c get,list
- configmaps configmap ConfigMap cm n create,delete,deletecollection,get,list,patch,update,watch
- endpoints endpoints Endpoints ep n create,delete,deletecollection,get,list,patch,update,watch
- events event Event ev n create,delete,deletecollection,get,list,patch,update,watch
- limitranges limitrange LimitRange limits n create,delete,deletecollection,get,list,patch,update,watch
- namespaces namespace Namespace ns c create,delete,get,list,patch,update,watch finalize:update status:get,patch,update
- nodes node Node no c create,delete,deletecollection,get,list,patch,update,watch proxy:create,delete,get,patch,update status:get,patch,update
- persistentvolumeclaims persistentvolumeclaim PersistentVolumeClaim pvc n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
- persistentvolumes persistentvolume PersistentVolume pv c create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
- pods pod Pod po n create,delete,deletecollection,get,list,patch,update,watch attach:create,get binding:create ephemeralcontainers:get,patch,update eviction:create exec:create,get log:get portforward:create,get proxy:create,delete,get,patch,update resize:get,patch,update status:get,patch,update
- podtemplates podtemplate PodTemplate - n create,delete,deletecollection,get,list,patch,update,watch
- replicationcontrollers replicationcontroller ReplicationController rc n create,delete,deletecollection,get,list,patch,update,watch scale:get,patch,update status:get,patch,update
- resourcequotas resourcequota ResourceQuota quota n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
- secrets secret Secret - n create,delete,deletecollection,get,list,patch,update,watch
- serviceaccounts serviceaccount ServiceAccount sa n create,delete,deletecollection,get,list,patch,update,watch token:create
- services service Service svc n create,delete,deletecollection,get,list,patch,update,watch proxy:create,delete,get,patch,update status:get,patch,update
admissionregistration.k8s.io mutatingadmissionpolicies mutatingadmissionpolicy MutatingAdmissionPolicy - c create,delete,deletecollection,get,list,patch,update,watch
admissionregistration.k8s.io mutatingadmissionpolicybindings mutatingadmissionpolicybinding MutatingAdmissionPolicyBinding - c create,delete,deletecollection,get,list,patch,update,watch
admissionregistration.k8s.io mutatingwebhookconfigurations mutatingwebhookconfiguration MutatingWebhookConfiguration - c create,delete,deletecollection,get,list,patch,update,watch
admissionregistration.k8s.io validatingadmissionpolicies validatingadmissionpolicy ValidatingAdmissionPolicy - c create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
admissionregistration.k8s.io validatingadmissionpolicybindings validatingadmissionpolicybinding ValidatingAdmissionPolicyBinding - c create,delete,deletecollection,get,list,patch,update,watch
admissionregistration.k8s.io validatingwebhookconfigurations validatingwebhookconfiguration ValidatingWebhookConfiguration - c create,delete,deletecollection,get,list,patch,update,watch
apiextensions.k8s.io customresourcedefinitions customresourcedefinition CustomResourceDefinition crd,crds c create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
apiregistration.k8s.io apiservices apiservice APIService - c create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
apps controllerrevisions controllerrevision ControllerRevision - n create,delete,deletecollection,get,list,patch,update,watch
apps daemonsets daemonset DaemonSet ds n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
apps deployments deployment Deployment deploy n create,delete,deletecollection,get,list,patch,update,watch scale:get,patch,update status:get,patch,update
apps replicasets replicaset ReplicaSet rs n create,delete,deletecollection,get,list,patch,update,watch scale:get,patch,update status:get,patch,update
apps statefulsets statefulset StatefulSet sts n create,delete,deletecollection,get,list,patch,update,watch scale:get,patch,update status:get,patch,update
authentication.k8s.io selfsubjectreviews selfsubjectreview SelfSubjectReview - c create
authentication.k8s.io tokenreviews tokenreview TokenReview - c create
authorization.k8s.io localsubjectaccessreviews localsubjectaccessreview LocalSubjectAccessReview - n create
authorization.k8s.io selfsubjectaccessreviews selfsubjectaccessreview SelfSubjectAccessReview - c create
authorization.k8s.io selfsubjectrulesreviews selfsubjectrulesreview SelfSubjectRulesReview - c create
authorization.k8s.io subjectaccessreviews subjectaccessreview SubjectAccessReview - c create
autoscaling horizontalpodautoscalers horizontalpodautoscaler HorizontalPodAutoscaler hpa n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
batch cronjobs cronjob CronJob cj n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
batch jobs job Job - n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
certificates.k8s.io certificatesigningrequests certificatesigningrequest CertificateSigningRequest csr c create,delete,deletecollection,get,list,patch,update,watch approval:get,patch,update status:get,patch,update
coordination.k8s.io leases lease Lease - n create,delete,deletecollection,get,list,patch,update,watch
discovery.k8s.io endpointslices endpointslice EndpointSlice - n create,delete,deletecollection,get,list,patch,update,watch
events.k8s.io events event Event ev n create,delete,deletecollection,get,list,patch,update,watch
flowcontrol.apiserver.k8s.io flowschemas flowschema FlowSchema - c create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
flowcontrol.apiserver.k8s.io prioritylevelconfigurations prioritylevelconfiguration PriorityLevelConfiguration - c create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
networking.k8s.io ingressclasses ingressclass IngressClass - c create,delete,deletecollection,get,list,patch,update,watch
networking.k8s.io ingresses ingress Ingress ing n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
networking.k8s.io ipaddresses ipaddress IPAddress ip c create,delete,deletecollection,get,list,patch,update,watch
networking.k8s.io networkpolicies networkpolicy NetworkPolicy netpol n create,delete,deletecollection,get,list,patch,update,watch
networking.k8s.io servicecidrs servicecidr ServiceCIDR - c create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
node.k8s.io runtimeclasses runtimeclass RuntimeClass - c create,delete,deletecollection,get,list,patch,update,watch
policy poddisruptionbudgets poddisruptionbudget PodDisruptionBudget pdb n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
rbac.authorization.k8s.io clusterrolebindings clusterrolebinding ClusterRoleBinding - c create,delete,deletecollection,get,list,patch,update,watch
rbac.authorization.k8s.io clusterroles clusterrole ClusterRole - c create,delete,deletecollection,get,list,patch,update,watch
rbac.authorization.k8s.io rolebindings rolebinding RoleBinding - n create,delete,deletecollection,get,list,patch,update,watch
rbac.authorization.k8s.io roles role Role - n create,delete,deletecollection,get,list,patch,update,watch
resource.k8s.io deviceclasses deviceclass DeviceClass - c create,delete,deletecollection,get,list,patch,update,watch
resource.k8s.io resourceclaims resourceclaim ResourceClaim - n create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
resource.k8s.io resourceclaimtemplates resourceclaimtemplate ResourceClaimTemplate - n create,delete,deletecollection,get,list,patch,update,watch
resource.k8s.io resourceslices resourceslice ResourceSlice - c create,delete,deletecollection,get,list,patch,update,watch
scheduling.k8s.io priorityclasses priorityclass PriorityClass pc c create,delete,deletecollection,get,list,patch,update,watch
storage.k8s.io csidrivers csidriver CSIDriver - c create,delete,deletecollection,get,list,patch,update,watch
storage.k8s.io csinodes csinode CSINode - c create,delete,deletecollection,get,list,patch,update,watch
storage.k8s.io csistoragecapacities csistoragecapacity CSIStorageCapacity - n create,delete,deletecollection,get,list,patch,update,watch
storage.k8s.io storageclasses storageclass StorageClass sc c create,delete,deletecollection,get,list,patch,update,watch
storage.k8s.io volumeattachments volumeattachment VolumeAttachment - c create,delete,deletecollection,get,list,patch,update,watch status:get,patch,update
storage.k8s.io volumeattributesclasses volumeattributesclass VolumeAttributesClass vac c create,delete,deletecollection,get,list,patch,update,watch
";
