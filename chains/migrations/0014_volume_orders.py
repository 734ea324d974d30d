"""Indexes by which the volumes of a domain are sorted."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("chains", "0013_largest_wins")]

    operations = [
        migrations.AddIndex(
            model_name="volume",
            index=models.Index(fields=["domain", "on_disk", "id"], name="volumes_by_on_disk"),
        ),
        migrations.AddIndex(
            model_name="volume",
            index=models.Index(fields=["domain", "modified", "id"], name="volumes_by_age"),
        ),
    ]
