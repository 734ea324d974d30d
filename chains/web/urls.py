"""Addresses of the pages."""

from django.urls import path

from chains.web import (
    batches,
    chain,
    findings,
    forest,
    glossary,
    lesson,
    limits,
    lists,
    merge_files,
    past,
    policies,
    reader,
    reads_files,
    scans,
    sprawl,
    trail,
    views,
)
from chains.web.drawings import FILES
from chains.web.overview import overview

urlpatterns = [
    path("", overview, name="overview"),
    path("domains/", views.domains, name="domains"),
    path("domains/<int:pk>/", views.domain, name="domain"),
    path("domains/<int:pk>/forest/", forest.forest, name="domain-forest"),
    *(
        path(
            f"domains/<int:pk>/forest.{kind}",
            forest.forest_file,
            {"kind": kind},
            f"domain-forest-{kind}",
        )
        for kind in FILES
    ),
    path("domains/<int:pk>/scan/", views.domain_scan, name="domain-scan"),
    path("domains/<int:pk>/volumes/", lists.volumes, name="volumes"),
    path("domains/<int:pk>/policy/", policies.policy, name="domain-policy"),
    path("domains/<int:pk>/pause/", policies.pause, name="domain-pause"),
    path("thresholds/", limits.thresholds, name="thresholds"),
    path("domains/<int:pk>/thresholds/", limits.domain_thresholds, name="domain-thresholds"),
    path("domains/<int:pk>/schedule/", limits.schedule, name="domain-schedule"),
    path("domains/<int:pk>/history/", past.domain_history, name="domain-history"),
    path("domains/<int:pk>/batch/", batches.plan, name="batch-plan"),
    path("batches/<int:pk>/", batches.batch, name="batch"),
    path("batches/<int:pk>/cancel/", batches.cancel, name="batch-cancel"),
    path("volumes/<int:pk>/", views.volume, name="volume"),
    path("volumes/<int:pk>/check/", scans.check, name="volume-check"),
    path("scans/<int:pk>/cancel/", scans.cancel, name="scan-cancel"),
    path("disks/<int:pk>/", views.disk, name="disk"),
    *(
        path(
            f"disks/<int:pk>/reads.{kind}",
            reads_files.reads_file,
            {"kind": kind},
            f"disk-reads-{kind}",
        )
        for kind in reads_files.TYPES
    ),
    *(
        path(f"{of}chains.{kind}", view, {"kind": kind}, f"{name}-{kind}")
        for of, view, name in (
            ("merges/<int:pk>/", merge_files.merge_file, "merge-chains"),
            ("disks/<int:pk>/merge/", merge_files.plan_file, "plan-chains"),
        )
        for kind in reads_files.TYPES
    ),
    path("disks/<int:pk>/chain/", chain.chain, name="disk-chain"),
    *(
        path(f"disks/<int:pk>/chain.{kind}", chain.chain_file, {"kind": kind}, f"disk-chain-{kind}")
        for kind in FILES
    ),
    path("disks/<int:pk>/merge/", views.merge_plan, name="merge-plan"),
    path("merges/<int:pk>/", views.merge, name="merge"),
    path("merges/<int:pk>/cancel/", views.merge_cancel, name="merge-cancel"),
    path("merges/<int:pk>/resume/", views.merge_resume, name="merge-resume"),
    path("merges/<int:pk>/undo/", policies.undo, name="merge-undo"),
    path("merges/<int:pk>/purge/", policies.purge, name="merge-purge"),
    path("findings/", lists.findings, name="findings"),
    path("findings/<int:pk>/", findings.finding, name="finding"),
    path("findings/<int:pk>/acknowledge/", findings.acknowledge, name="finding-acknowledge"),
    path("findings/<int:pk>/reopen/", findings.reopen, name="finding-reopen"),
    path("audit/", trail.records, name="audit"),
    path("audit/<int:pk>/", trail.record, name="audit-record"),
    path("sprawl/", sprawl.report, name="sprawl"),
    path("activity/", views.activity, name="activity"),
    path("words/<slug:language>/<slug:version>.js", reader.words, name="words"),
    path("glossary/", glossary.glossary, name="glossary"),
    path("lesson/", lesson.lesson, name="lesson"),
    path("lesson/run/", lesson.run, name="lesson-run"),
    path("lesson/over/", lesson.start_over, name="lesson-over"),
]
