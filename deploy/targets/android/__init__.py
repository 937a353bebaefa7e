"""Android devices behind adb."""
