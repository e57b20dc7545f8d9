"""Tests of protocols, form, viewers and wizards inside Scipion."""
