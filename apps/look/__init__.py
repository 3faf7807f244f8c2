"""Looking at runs and sharing them: pictures, video, report, exports."""
