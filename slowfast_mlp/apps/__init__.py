"""Programs that use the framework. The core never imports them."""
