"""The number that orders the messages of the activity topic."""

from django.db import migrations


class Migration(migrations.Migration):
    """A sequence, which never runs backwards."""

    dependencies = [("chains", "0001_initial")]
    operations = [
        migrations.RunSQL(
            "CREATE SEQUENCE chains_activity_seq", "DROP SEQUENCE chains_activity_seq"
        )
    ]
