"""Search: many recipes tried, those kept that nothing beats in every objective."""
