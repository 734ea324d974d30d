"""An index by which the overview finds the largest wins without reading the other findings."""

from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    dependencies = [("chains", "0012_root_mark")]

    operations = [
        migrations.AddIndex(
            model_name="finding",
            index=models.Index(
                F("domain"),
                F("space").desc(),
                "id",
                condition=Q(resolved_at=None, code="merge-wins"),
                include=["acknowledged_at", "acknowledged_until"],
                name="largest_wins",
            ),
        ),
    ]
