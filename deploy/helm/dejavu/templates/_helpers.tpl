{{/* What values.schema.json cannot say: values that exclude each other, and names that Kubernetes would refuse later. */}}
{{- define "dejavu.check" -}}
{{- $server := .Values.server }}
{{- if not (regexMatch "^[a-z][-a-z0-9]{0,43}$" .Release.Name) }}
{{- fail (printf "release name %q; expected at most 44 of a-z, 0-9 and -, the first of a-z" .Release.Name) }}
{{- end }}
{{- if and (not .Values.ledger.url) (or (gt (int $server.replicas) 1) $server.maxReplicas) }}
{{- fail "server.replicas and server.maxReplicas: SQLite is for one server; set ledger.url for more" }}
{{- end }}
{{- if and $server.maxReplicas (lt (int $server.maxReplicas) (int $server.replicas)) }}
{{- fail (printf "server.maxReplicas: %v; expected 0 or at least server.replicas, %v" $server.maxReplicas $server.replicas) }}
{{- end }}
{{- $least := add 256 (mul 384 $server.workers) }}
{{- if and $server.memoryMebibytes (lt (int $server.memoryMebibytes) (int $least)) }}
{{- fail (printf "server.memoryMebibytes: %v; expected at least %v for %v workers, or 0" $server.memoryMebibytes $least $server.workers) }}
{{- end }}
{{- if and .Values.tokens.secret (not .Values.tls.secret) }}
{{- fail "tokens.secret needs tls.secret: a token needs TLS" }}
{{- end }}
{{- if and .Values.retrain.enabled (not .Values.models.store) }}
{{- fail "retrain.enabled needs models.store, which gets its models" }}
{{- end }}
{{- end }}

{{/* Labels by which services, policies and budgets select pods. Takes a list: the root, the component. */}}
{{- define "dejavu.selector" -}}
app.kubernetes.io/name: dejavu
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* Metadata of an object. Takes a list: the root, the component, what its name has after that of the release. */}}
{{- define "dejavu.metadata" -}}
{{- $root := first . -}}
name: {{ $root.Release.Name }}-{{ last . }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "dejavu.selector" (list $root (index . 1)) | nindent 2 }}
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Metadata of a pod. Takes a list: the root, the component. */}}
{{- define "dejavu.podMetadata" -}}
labels:
  {{- include "dejavu.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ (first .).Chart.AppVersion | quote }}
{{- end }}

{{/* What every pod has, as the restricted standard demands. Takes the root. */}}
{{- define "dejavu.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # Not at every start: it would open the ledger's files to the group.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end }}

{{/* Pods of a component on different nodes, if possible. Takes a list: the root, the component. */}}
{{- define "dejavu.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "dejavu.selector" . | nindent 8 }}
{{- end }}

{{/* What every container has. Takes a list: the root, the program. */}}
{{- define "dejavu.container" -}}
{{- $images := (first .).Values.images -}}
name: {{ last . }}
image: {{ printf "%sdejavu-%s:%s" $images.registry (last .) ($images.tag | default (first .).Chart.AppVersion) | quote }}
imagePullPolicy: {{ $images.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Environment variables. Takes a list of maps, of which a later one wins: a text or what valueFrom takes, by name. */}}
{{- define "dejavu.env" -}}
{{- $all := dict }}
{{- range . }}
{{- range $name, $value := . }}
{{- $_ := set $all $name $value }}
{{- end }}
{{- end }}
{{- range $name, $value := $all }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  valueFrom: {{ toJson $value }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Variables of a client of the servers, as a map. Takes the root. */}}
{{- define "dejavu.clientEnv" -}}
DEJAVU_TARGET: dns:///{{ .Release.Name }}-server:50051
{{- if .Values.tls.secret }}
DEJAVU_CA: /run/secrets/dejavu/tls/ca.crt
{{- end }}
{{- if .Values.tokens.secret }}
DEJAVU_TOKEN_FILE: /run/secrets/dejavu/token/token
{{- end }}
{{- end }}

{{/* Mounts of a client's secrets. Takes the root. */}}
{{- define "dejavu.clientMounts" -}}
{{- if .Values.tls.secret }}
- {name: authority, mountPath: /run/secrets/dejavu/tls, readOnly: true}
{{- end }}
{{- if .Values.tokens.secret }}
- {name: token, mountPath: /run/secrets/dejavu/token, readOnly: true}
{{- end }}
{{- end }}

{{/* Volumes of a client's secrets. Takes a list: the root, the key of its token. */}}
{{- define "dejavu.clientVolumes" -}}
{{- with (first .).Values.tls.secret }}
- name: authority
  secret:
    secretName: {{ . }}
    items:
      - {key: ca.crt, path: ca.crt}
{{- end }}
{{- if (first .).Values.tokens.secret }}
- name: token
  secret:
    secretName: {{ (first .).Values.tokens.secret }}
    defaultMode: 0440
    items:
      - {key: {{ last . }}, path: token}
{{- end }}
{{- end }}

{{/* The password of the ledger's database, as a map of variables. Takes the root.
     Read by libpq. A PGPASSFILE would have to be readable by its user alone, which a mounted secret is not. */}}
{{- define "dejavu.databaseEnv" -}}
{{- if .Values.ledger.url }}
PGPASSWORD:
  secretKeyRef: {name: {{ .Values.ledger.secret | default (printf "%s-database" .Release.Name) }}, key: password}
{{- end }}
{{- end }}

{{/* The model store as its programs name it. Takes the root. */}}
{{- define "dejavu.store" -}}
{{- eq .Values.models.store "volume" | ternary "/var/lib/dejavu-models" .Values.models.store }}
{{- end }}

{{/* What a container that uses a model store elsewhere has. Takes the root. */}}
{{- define "dejavu.storeEnvFrom" -}}
{{- with .Values.models.secret }}
envFrom:
  - secretRef: {name: {{ . }}}
{{- end }}
{{- end }}

{{/* A volume claim, which stays when the release is uninstalled. Takes a list: the root, the component, what its name has
     after that of the release, access mode, size. */}}
{{- define "dejavu.claim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  annotations: {helm.sh/resource-policy: keep}
  {{- include "dejavu.metadata" (slice . 0 3) | nindent 2 }}
spec:
  accessModes: [{{ index . 3 }}]
  {{- with (first .).Values.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests: {storage: {{ last . }}}
{{- end }}

{{/* A budget that lets one pod of several be evicted at a time. Takes a list: the root, the component, number of pods. */}}
{{- define "dejavu.budget" -}}
{{- if gt (int (last .)) 1 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "dejavu.metadata" (list (first .) (index . 1) (index . 1)) | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "dejavu.selector" (list (first .) (index . 1)) | nindent 6 }}
{{- end }}
{{- end }}
