"""What the header of a volume says, beside the columns that lists are made of."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('chains', '0002_activity_seq'),
    ]

    operations = [
        migrations.AddField(
            model_name='volume',
            name='header',
            field=models.JSONField(help_text='core.facts.stored_facts; null when there is none', null=True),
        ),
    ]
