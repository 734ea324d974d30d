"""The largest wins are found among the disks, which hold what a merge gives back, not among the findings."""

from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    dependencies = [("chains", "0017_lesson")]

    operations = [
        migrations.RemoveIndex(model_name="finding", name="largest_wins"),
        migrations.AddIndex(
            model_name="disk",
            index=models.Index(
                F("domain"),
                F("winnable").desc(),
                "id",
                condition=Q(winnable__gt=0),
                name="largest_wins",
            ),
        ),
    ]
