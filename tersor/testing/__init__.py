"""What every codec must pass; for our codecs and for those of third parties."""
